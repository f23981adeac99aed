"""EchoJEPA: latent-predictive foundation models for echocardiography."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from echojepa.version import __version__

if TYPE_CHECKING:
    from echojepa.backbones.loading import load_backbone

__all__ = ["__version__", "load_backbone"]


def __getattr__(name: str) -> Any:
    """`load_backbone` is imported when it is asked for: torch takes seconds, `--help` should not."""
    if name == "load_backbone":
        return importlib.import_module("echojepa.backbones.loading").load_backbone
    raise AttributeError(f"module 'echojepa' has no attribute '{name}'")
