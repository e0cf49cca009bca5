"""HTML of what a page shows. The whole page is one file: style, script, data and what draws plots
are in it. Without JavaScript, tables, verdicts and matrices are all there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.analysis.page import vega

TEMPLATES = Path(__file__).with_name("templates")


def rendered(model: dict[str, Any]) -> str:
    """The page of a model of `orchestrator.analysis.page.model`."""
    # Loaded late: commands that write no page do without it.
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # labels and errors are text, whatever they look like
        trim_blocks=True,
        lstrip_blocks=True,
    )
    data = _data(model)
    return environment.get_template("page.html.j2").render(
        **model,
        style=Markup((TEMPLATES / "page.css").read_text()),
        script=Markup((TEMPLATES / "page.js").read_text()),
        data=Markup(_as_script(data)),
        vega=Markup(vega.javascript() if data["plots"] else ""),
    )


def _data(model: dict[str, Any]) -> dict[str, Any]:
    """What the script needs of the model: how plots are drawn, by name, and what stands behind the
    entries of matrices, by family, step and place.
    """
    specs = {}
    named = {"answer": model["answer"]["plots"], "plots": model["plots"]}
    named["curves"] = model["curves"]["plots"]
    for name, found in named.items():
        for number, plot in enumerate(found):
            specs[f"{name}-{number}"] = _packed(plot["spec"])
    behind = {}
    for number, family in enumerate(model["matrices"]):
        for step, of_step in enumerate(family["steps"]):
            for place, matrix in enumerate(of_step["matrices"]):
                behind[f"{number}-{step}-{place}"] = matrix["behind"]
    return {"plots": specs, "matrices": behind, "references": model["references"]}


def _packed(spec: dict[str, Any]) -> dict[str, Any]:
    """A plot whose rows have no names of fields, and texts by their number: half of a page were
    such words otherwise.
    """
    datasets = {}
    for name, rows in spec["datasets"].items():
        fields = list(dict.fromkeys(field for row in rows for field in row))
        texts: dict[str, int] = {}
        for row in rows:
            for value in row.values():
                if isinstance(value, str):
                    texts.setdefault(value, len(texts))
        is_text = [any(isinstance(row.get(field), str) for row in rows) for field in fields]
        packed = []
        for row in rows:
            values = [row.get(field) for field in fields]
            packed.append([texts[v] if isinstance(v, str) else v for v in values])
        datasets[name] = {
            "fields": fields,
            "is_text": is_text,
            "texts": list(texts),
            "rows": packed,
        }
    return {**spec, "datasets": datasets}


def _as_script(data: dict[str, Any]) -> str:
    """JSON that may stand in a script: no text in it can end the script."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")
