"""Faster arithmetic gives nearly the same features, and says what it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from encoders import weights_of

import echojepa
from echojepa.backbones.echoprime import EchoPrime
from echojepa.config import Architecture, Engine, InputSpec, Precision
from echojepa.errors import UserError
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import Origin, save_weights

SPEC = InputSpec(size=64, frames=4, seconds=1.0)
CLIPS = torch.randint(
    0, 256, (3, 3, 4, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    architecture = Architecture("micro", patch=8)
    encoder = VisionTransformer(architecture, SPEC, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    save_weights(out, weights_of(encoder, architecture, SPEC, Origin("test")))
    return out


@pytest.mark.parametrize(
    ("precision", "engine", "allowed"),
    [("bf16", "torch", 0.02), ("float32", "openvino", 1e-4), ("bf16", "openvino", 0.02),
     ("int8", "openvino", 0.04)],
)  # fmt: skip
def test_features_hardly_change(folder: Path, precision: Precision, engine: Engine, allowed: float) -> None:
    exact = echojepa.load_backbone(folder)(CLIPS)
    fast = echojepa.load_backbone(folder, precision=precision, engine=engine)
    found = fast(CLIPS)
    assert found.grid == exact.grid and found.tokens.dtype == torch.float32
    difference = (found.tokens - exact.tokens).abs().mean() / exact.tokens.std()
    assert 0 < difference < allowed
    assert precision in fast.name or (precision, engine) == ("float32", "torch")


def test_openvino_tells_nobody_that_it_is_used() -> None:
    """It would send a message from a process of its own; here its own stub without a sender stands in."""
    code = (
        "import sys; from echojepa.backbones.compiled import openvino; openvino(); "
        "from openvino.tools.ovc import telemetry_utils as t; "
        "sys.exit(t.tm.__name__ != 'openvino.tools.ovc.telemetry_stub')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_impossible_combinations_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="--engine openvino"):
        echojepa.load_backbone(folder, precision="int8")
    with pytest.raises(UserError, match="only float32 with torch"):
        echojepa.load_backbone("untrained:echoprime", precision="bf16")
    assert EchoPrime.untrained().name == "untrained architecture (EchoPrime)"
