"""One self-contained HTML page from a template of this package."""

from __future__ import annotations

import base64
import io
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echojepa.files.durable import write_text
from echojepa.version import __version__


def jpeg_uri(pixels: NDArray[np.uint8], quality: int) -> str:
    """Pixels (H, W) or (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_page(out: Path, template: str, **values: Any) -> Path:
    """Fill a template and write the page; the file or none."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = resources.files("echojepa.report").joinpath(template).read_text("utf-8")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, environment.from_string(text).render(version=__version__, **values))
    return out
