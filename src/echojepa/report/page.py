"""One self-contained HTML page from a template of this package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from echojepa.files.durable import write_text
from echojepa.version import __version__


def write_page(out: Path, template: str, **values: Any) -> Path:
    """Fill a template and write the page; the file or none."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = resources.files("echojepa.report").joinpath(template).read_text("utf-8")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, environment.from_string(text).render(version=__version__, **values))
    return out
