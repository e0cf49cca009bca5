"""Names, labels and texts as MLflow takes them, whatever a method or a user called things.

MLflow refuses a whole request for one name that it does not like, and cuts long values silently.
"""

from __future__ import annotations

import hashlib
import re

# Characters that MLflow keeps of a name, of a param and of a tag.
LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 8000
LONGEST_MODEL = 500  # of a model's name
LONGEST_IMAGE = (
    150  # of a series of pictures: names of files end at 255 bytes, and more stands there
)

_REFUSED = re.compile(r"[^\w\-. :/]")
_REFUSED_OF_IMAGES = re.compile(r"[^A-Za-z0-9_\-. /]")
_REFUSED_OF_MODELS = re.compile(r"[/:.%\"']")


def fit_name(name: str) -> str:
    """A metric's, param's or tag's name. One that MLflow takes stays as it is; any other gets six
    digits of its digest, so that no two names become one.
    """
    steps = _REFUSED.sub("_", name).split("/")
    # MLflow takes slashes as those of a path, which must be the shortest to where it leads.
    fit = "/".join(step for step in steps if step not in ("", ".", "..")) or "_"
    if fit == name and len(name) <= LONGEST_NAME:
        return name
    return f"{fit[: LONGEST_NAME - 7]}-{_mark(name)}"


def fit_text(text: object, longest: int) -> str:
    """A value of a param or a tag, cut to `longest`, without what no database stores."""
    storable = str(text).encode(errors="replace").decode().replace("\0", "?")
    return storable[:longest]


def model_name(title: str) -> str:
    """A component's title as MLflow takes it for a model's name; the tag `spolia.component` keeps
    it as it is.
    """
    return fit_text(_REFUSED_OF_MODELS.sub("_", title), LONGEST_MODEL)


def image_key(name: str) -> str:
    """A series of pictures as MLflow takes it, `matrix/common - lr 0.1`; any letter that it does
    not take, and what is too long for a file's name, is in the six digits of a digest behind it.
    """
    told = name.replace(" · ", " - ").replace("=", " ")
    fit = _REFUSED_OF_IMAGES.sub("_", told)
    if fit == told and len(fit) <= LONGEST_IMAGE:
        return fit
    return f"{fit[: LONGEST_IMAGE - 7]}-{_mark(name)}"


def _mark(name: str) -> str:
    """Six digits that tell a name from others."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:6]
