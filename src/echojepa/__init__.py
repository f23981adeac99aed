"""EchoJEPA: latent-predictive foundation models for echocardiography."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from echojepa.version import __version__

if TYPE_CHECKING:
    from echojepa.answer.model import load_model
    from echojepa.answer.predict import predict
    from echojepa.backbones.loading import load_backbone

__all__ = ["__version__", "load_backbone", "load_model", "predict"]
PLACES = {"load_backbone": "backbones.loading", "load_model": "answer.model", "predict": "answer.predict"}


def __getattr__(name: str) -> Any:
    """A function is imported when it is asked for: torch takes seconds, `--help` should not."""
    if name in PLACES:
        return getattr(importlib.import_module(f"echojepa.{PLACES[name]}"), name)
    raise AttributeError(f"module 'echojepa' has no attribute '{name}'")
