"""The page's templates, which escape whatever stands in a run."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from seqtune.report.following import items_label, place_label
from seqtune.report.plot import SERIES, draw_key, percent


def open_template(name: str) -> Template:
    """The template of that name, ready to render.

    Args:
        name: a file beside this one, e.g. "page.html".
    """
    environment = Environment(
        loader=PackageLoader("seqtune.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "key": draw_key, "counted": items_label}
    environment.globals |= {"SERIES": SERIES, "place_label": place_label}
    return environment.get_template(name)
