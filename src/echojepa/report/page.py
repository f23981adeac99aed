"""One self-contained HTML page from a template of this package."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image, ImageOps

from echojepa.files.durable import write_text
from echojepa.version import __version__


def jpeg_uri(pixels: NDArray[np.uint8], quality: int) -> str:
    """Pixels (H, W) or (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def fitted_into(frame: NDArray[np.uint8], side: int) -> Image.Image:
    """A frame (H, W) or (H, W, 3) as a picture whose longer side is `side` pixels."""
    return ImageOps.contain(Image.fromarray(frame), (side, side), Image.Resampling.BILINEAR)


def small_jpeg(frame: NDArray[np.uint8], side: int, quality: int) -> str:
    """A frame (H, W) or (H, W, 3), its longer side `side` pixels, as a JPEG data URI."""
    return jpeg_uri(np.asarray(fitted_into(frame, side)), quality)


def code(text: str) -> Markup:
    """A sentence whose parts between backticks are commands or names of files."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def render(template: str, package: str = "echojepa.report", **values: Any) -> str:
    """Fill a template of a package; it may include what lies here, as every page does."""
    loaders = [jinja2.PackageLoader(name, ".") for name in dict.fromkeys((package, "echojepa.report"))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["code"] = code
    return environment.get_template(template).render(version=__version__, **values)


def write_page(out: Path, template: str, **values: Any) -> Path:
    """Fill a template and write the page; the file or none."""
    text = render(template, **values)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return out
