"""torchvision, asked for once."""

from __future__ import annotations

import importlib
from typing import Any

from echojepa.errors import UserError


def torchvision_models() -> Any:
    """Its `video` and image models in one namespace; UserError where it is not installed."""
    try:
        models = importlib.import_module("torchvision.models")
        video = importlib.import_module("torchvision.models.video")
    except ImportError as error:
        raise UserError(
            "EchoPrime and PanEcho need torchvision, which cannot be imported; run: pip install "
            "'echojepa[baselines]'"
        ) from error
    return type("Models", (), {"mvit_v2_s": video.mvit_v2_s, "convnext_tiny": models.convnext_tiny})
