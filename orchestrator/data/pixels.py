"""From the bytes of one encoded image to pixels of 8 bits, upright, at the wanted size; what is
not understood is refused.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from orchestrator.data.readers import Encoded, Pixels
from orchestrator.spec.datasets import Scaled

GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N")
COLOURED = ("P", "LA", "PA", "RGB", "RGBA", "RGBa", "La", "RGBX", "CMYK", "YCbCr", "HSV")
DEEP_FORMATS = ("PNG", "PPM")  # where Pillow's mode I holds 16 bits, not 32
FULL = 65535  # white in 16 bits
ZERO_IS = 262  # TIFF's tag PhotometricInterpretation; 0 where zero is white
UNLABELLED = 255  # in masks as they are kept: a pixel of no class
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright

# How an image is to be turned, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on bytes that are no image, or half of one.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class RefusedError(Exception):
    """An image that cannot be used; the message is the reason, the same for all of one kind."""


@dataclass(frozen=True)
class Decoded:
    """One image: `pixels` [C, H, W] with one channel or three, `size` the height and width in the
    file, upright; `mode` and depth as read.

    `reading` is empty for an image whose pixels are what they always were; it says what else was
    done, and is part of a set's digest. `peculiar` is what a user should hear of. `brightest` is
    the largest value of a 16-bit image, else 0. `mask` is [1, H, W], values as in its file.
    """

    pixels: Pixels
    size: tuple[int, int]
    mode: str
    reading: str = ""
    peculiar: tuple[str, ...] = ()
    brightest: int = 0
    mask: Pixels | None = None


def decode(
    record: Encoded, size: int | None, *, scaled: Scaled = None, reduced: bool = False
) -> Decoded:
    """An image and its mask, the shorter side scaled to `size` and the middle cut out where that is
    not None; `scaled` is as in `image_folder`. With `reduced`, JPEG may be decoded at a fraction of
    its size that is not below it.

    Raises RefusedError for what cannot be decoded or is not understood.
    """
    try:
        with Image.open(io.BytesIO(record.content)) as opened:
            return _decoded(opened, record, size, scaled, reduced=reduced)
    except _UNREADABLE as error:
        raise RefusedError(f"cannot be decoded: {_why(record.content, error)}") from error


def _decoded(
    opened: Any, record: Encoded, size: int | None, scaled: Scaled, *, reduced: bool
) -> Decoded:
    """As `decode`, from an open file of which only the header was read."""
    mode = _mode(opened)
    _refuse_what_has_no_scale(opened)
    wide, high = opened.size
    if reduced and size is not None:
        needed = scaled if isinstance(scaled, int) else size
        opened.draft(None, (needed, needed))  # no effect but on JPEG
    peculiar = _peculiarities(opened)
    image, brightest = _eight_bits(opened)
    turn = _orientation(opened)
    reading = ["16 bits"] if brightest is not None else []
    if turn in _UPRIGHT:
        image = image.transpose(_UPRIGHT[turn])
        reading.append(f"orientation {turn}")
        if turn >= 5:  # lies on its side
            wide, high = high, wide
    mask = None
    if record.mask is not None:
        mask = _mask(record.mask)
        if mask.size != image.size:
            raise RefusedError("the mask is not of the image's size")
    if record.box is not None:
        box = _whole_box(record.box, image.size)
        image, mask = image.crop(box), None if mask is None else mask.crop(box)
        wide, high = image.size
    if size is not None:
        image = _fitted(image, size, scaled, Image.Resampling.BICUBIC)
        mask = None if mask is None else _fitted(mask, size, scaled, Image.Resampling.NEAREST)
    pixels = np.asarray(image)  # [H, W] or [H, W, 3]
    return Decoded(
        pixels=pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1),
        size=(high, wide),
        mode=mode,
        reading=", ".join(reading),
        peculiar=peculiar,
        brightest=brightest or 0,
        mask=None if mask is None else np.asarray(mask)[None],
    )


def _mode(image: Any) -> str:
    """Pillow's mode, and the depth in the file where Pillow reads fewer bits of it."""
    mode = str(image.mode)
    if not image.tile:
        return mode
    arguments = image.tile[0].args
    raw = arguments if isinstance(arguments, str) else str((arguments or ("",))[0])
    if mode == "I" and image.format in DEEP_FORMATS:
        return "I (16 bits)"
    # A PPM's arguments have the value of its white.
    has_deep_white = image.format == "PPM" and raw != arguments and arguments[1] > 255
    is_deep = ";16" in raw or has_deep_white
    is_cut = is_deep and not mode.startswith("I")
    return f"{mode} (16 bits, read as 8)" if is_cut else mode


def _peculiarities(image: Any) -> tuple[str, ...]:
    """What is left out of an image when it becomes grey or coloured pixels."""
    found = []
    # For JPEG, Pillow has no frames to count.
    if image.format in ("GIF", "WEBP", "TIFF", "PNG") and getattr(image, "is_animated", False):
        found.append("several frames")
    if image.mode in ("RGBA", "LA", "PA"):
        if image.getchannel("A").getextrema()[0] < 255:  # many files have the channel and no use
            found.append("transparent")
    elif "transparency" in image.info:
        found.append("transparent")
    return tuple(found)


def _refuse_what_has_no_scale(image: Any) -> None:
    """Raise RefusedError for modes whose values are not known to run from black to white."""
    mode = image.mode
    if mode == "I" and image.format not in DEEP_FORMATS:
        raise RefusedError(
            f"mode {mode} of {image.format} has whole numbers of 32 bits, and nothing says which "
            "is white; save it with 8 or 16 bits"
        )
    if mode == "F":
        raise RefusedError(
            "mode F has floating-point numbers, and nothing says which is white; save it with 8 or "
            "16 bits"
        )
    if mode.startswith("I") and image.format == "TIFF" and image.tag_v2.get(ZERO_IS) == 0:
        raise RefusedError(
            f"mode {mode} of TIFF counts from white to black, which Pillow reads the other way "
            "round; save it as PNG"
        )
    if mode not in GREY and mode not in COLOURED:
        raise RefusedError(f"mode {mode} is not understood; save it as grey or RGB")


def _eight_bits(image: Any) -> tuple[Any, int | None]:
    """A grey or an RGB image of 8 bits, and the largest value where there were 16 bits."""
    if image.mode.startswith("I"):
        # Pillow's own conversion cuts off at 255, which leaves little but white.
        values = np.asarray(image).astype(np.int64)
        scaled = (np.clip(values, 0, FULL) * 255 + FULL // 2) // FULL
        return Image.fromarray(scaled.astype(np.uint8)), int(values.max(initial=0))
    if image.mode in GREY:
        return image.convert("L"), None
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The same colours as by the short way, of which Pillow warns.
        return image.convert("RGBA").convert("RGB"), None
    return image.convert("RGB"), None


def _orientation(image: Any) -> int:
    """EXIF's orientation; 1, upright, where the file has none or one that cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a parser of foreign bytes may raise: the pixels are there
        return 1


def _whole_box(
    box: tuple[float, float, float, float], image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in whole pixels. Raises RefusedError where a box has no pixel,
    reaches more than one pixel out of the image, or has no number above 1: then its numbers mean
    something else.
    """
    if max(box) <= 1 < max(image_size):
        raise RefusedError("no number of the box is above 1; shares of the image are not pixels")
    left, top, right, bottom = (round(edge) for edge in box)
    wide, high = image_size
    if min(left, top) < -1 or right > wide + 1 or bottom > high + 1:
        raise RefusedError("the box reaches out of the image; are its numbers two corners, 'xyxy'?")
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, wide), min(bottom, high)
    if right <= left or bottom <= top:
        raise RefusedError("the box has no pixel; are its numbers two corners, 'xyxy'?")
    return left, top, right, bottom


def _mask(content: bytes) -> Any:
    """A mask as an image of 8 bits whose values are numbers of classes."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.mode == "1":
                return opened.convert("L")
            if opened.mode == "P":  # the numbers are what is meant, not the colours
                return Image.fromarray(np.asarray(opened))
            if opened.mode != "L":
                raise RefusedError(
                    f"the mask has mode {opened.mode}, not one number a pixel (L, P)"
                )
            opened.load()
            return opened.copy()
    except _UNREADABLE as error:
        raise RefusedError(f"the mask cannot be decoded: {_why(content, error)}") from error


def _fitted(image: Any, size: int, scaled: Scaled, resampling: Image.Resampling) -> Any:
    """The shorter side scaled to `size`, or to `scaled`, and the middle cut out."""
    if scaled == "whole":
        return image.resize((size, size), resampling)
    shorter = size if scaled is None else scaled
    scale = shorter / min(image.size)
    wide, high = (max(shorter, round(side * scale)) for side in image.size)
    image = image.resize((wide, high), resampling)
    left, top = (wide - size) // 2, (high - size) // 2
    return image.crop((left, top, left + size, top + size))


def _why(content: bytes, error: BaseException) -> str:
    """Why bytes are no image, in words that are the same for all of one kind."""
    if not content:
        return "the file is empty"
    if content.startswith(b"version https://git-lfs"):
        return "it is Git LFS's note of where the image lies (git lfs pull fetches it)"
    if isinstance(error, UnidentifiedImageError):
        return "no image format that Pillow knows"
    text = re.sub(r"\s*<[^>]*>|\bat 0x[0-9a-f]+", "", str(error))
    if "truncated" in text.lower():
        return "the file is cut short"
    return re.sub(r"\d+", "N", text) or type(error).__name__
