"""Files of Meta's layout load strictly, or are refused with what was found and what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from echojepa.backbones.contract import load_backbone
from echojepa.backbones.meta import load_meta_encoder
from echojepa.models.contract import InputSpec
from echojepa.models.vit import Architecture, VisionTransformer
from echojepa.training.checkpoint import CheckpointError

SPEC = InputSpec(size=48, frames=4, seconds=1.0)


def make_encoder(seed: int) -> VisionTransformer:
    return VisionTransformer(Architecture("micro", patch=8), SPEC, torch.Generator().manual_seed(seed))


def as_meta_saves_it(encoder: VisionTransformer) -> dict[str, torch.Tensor]:
    tensors = {f"module.backbone.{name}": value for name, value in encoder.state_dict().items()}
    return tensors | {"module.backbone.pos_embed": torch.zeros(1, 72, encoder.width)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    content = {"encoder": as_meta_saves_it(make_encoder(1)), "epoch": 3, "opt": {"state": {}},
               "target_encoder": as_meta_saves_it(make_encoder(2))}  # fmt: skip
    torch.save(content, tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def test_the_moving_average_is_loaded_and_gives_its_own_features(file: Path) -> None:
    encoder, spec = load_meta_encoder(file, SPEC)
    clips = torch.randn(2, 3, 4, 48, 48, generator=torch.Generator().manual_seed(3))
    assert spec == SPEC
    assert torch.equal(encoder(clips), make_encoder(2)(clips))
    assert not torch.equal(encoder(clips), make_encoder(1)(clips))


def test_a_file_is_a_backbone_by_its_path(file: Path) -> None:
    backbone = load_backbone(str(file))
    assert (backbone.name, backbone.embed_dim, backbone.spec) == ("vit.pt", 192, InputSpec())


def damage(content: dict[str, Any], kind: str) -> dict[str, Any]:
    tensors = content["target_encoder"]
    if kind == "missing":
        del tensors["module.backbone.norm.bias"]
    elif kind == "unknown":
        tensors["module.backbone.norms_block.0.weight"] = torch.zeros(192)
    elif kind == "shape":
        tensors["module.backbone.blocks.0.attn.qkv.weight"] = torch.zeros(576, 100)
    elif kind == "depth":
        tensors["module.backbone.blocks.4.norm1.weight"] = torch.zeros(192)
    elif kind == "other model":
        content["target_encoder"] = {"conv_proj.weight": torch.zeros(3)}
    else:
        return {"model": tensors}
    return content


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "norm.bias"), ("unknown", "norms_block"), ("shape", "576, 100"),
        ("depth", "5 blocks deep"), ("other model", "conv_proj"), ("no encoder", "target_encoder"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_what_was_found(file: Path, kind: str, says: str) -> None:
    torch.save(damage(torch.load(file), kind), file)
    with pytest.raises(CheckpointError, match=says):
        load_meta_encoder(file, SPEC)


def test_a_file_that_would_run_code_or_is_damaged_or_absent_is_refused(tmp_path: Path) -> None:
    torch.save({"encoder": SPEC}, tmp_path / "code.pt")
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04 and no more")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    cases = {"code": "refused", "half": "damaged", "tensor": "not a dictionary", "none": "no file"}
    for name, says in cases.items():
        with pytest.raises(CheckpointError, match=says):
            load_meta_encoder(tmp_path / f"{name}.pt")
