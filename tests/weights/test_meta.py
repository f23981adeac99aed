"""V-JEPA 2 and 2.1 files load strictly: the right encoder, all of it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import predictor_of

from echojepa.backbones.loading import load_backbone
from echojepa.config import Architecture, InputSpec
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.weights.layouts import read_weights
from echojepa.weights.tensors import CheckpointError

SPEC = InputSpec(size=48, frames=4, seconds=1.0)
CLIPS = torch.randn(2, 3, 4, 48, 48, generator=torch.Generator().manual_seed(3))


def make_encoder(seed: int, architecture: Architecture | None = None) -> VisionTransformer:
    architecture = architecture or Architecture("micro", patch=8)
    return VisionTransformer(architecture, SPEC, torch.Generator().manual_seed(seed))


def make_predictor() -> Predictor:
    shape = PredictorShape(64, 2, 2, 192, mask_tokens=10)
    return Predictor(192, (2, 6, 6), shape, "vjepa2", torch.Generator().manual_seed(4))


def as_meta_saves_it(module: torch.nn.Module, table: str = "pos_embed") -> dict[str, torch.Tensor]:
    tensors = {f"module.backbone.{name}": value for name, value in module.state_dict().items()}
    return tensors | {f"module.backbone.{table}": torch.zeros(1, 72, 192)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    content = {
        "encoder": as_meta_saves_it(make_encoder(1)), "epoch": 3, "opt": {"state": {}},
        "target_encoder": as_meta_saves_it(make_encoder(2)),
        "predictor": as_meta_saves_it(make_predictor(), "predictor_pos_embed"),
    }  # fmt: skip
    torch.save(content, tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def test_the_moving_average_is_loaded_and_gives_its_own_features(file: Path) -> None:
    weights = read_weights(file, SPEC)
    encoder = weights.build_encoder()
    assert weights.spec == SPEC
    assert torch.equal(encoder(CLIPS), make_encoder(2)(CLIPS))
    assert not torch.equal(encoder(CLIPS), make_encoder(1)(CLIPS))


def test_the_predictor_comes_with_all_its_mask_tokens_and_predicts_the_same(file: Path) -> None:
    weights = read_weights(file, SPEC)
    assert weights.predictor_shape == PredictorShape(64, 2, 2, 192, mask_tokens=10)
    context, ids = torch.randn(1, 3, 192), torch.arange(5)[None]
    predicted = predictor_of(weights)(context, ids[:, :3], ids[:, 3:])
    assert torch.equal(predicted, make_predictor()(context, ids[:, :3], ids[:, 3:]))


def test_a_file_is_a_backbone_by_its_path(file: Path) -> None:
    backbone = load_backbone(str(file))
    assert (backbone.name, backbone.embed_dim, backbone.spec) == ("vit.pt", 192, InputSpec())
    assert len(backbone.sha256) == 64


def test_the_second_edition_loads_as_an_encoder_of_ours(tmp_path: Path) -> None:
    """Against the description of V-JEPA 2.1: modality added to tokens, the last of four norms, and rows and
    columns stretched over those of 256 pixels."""
    plain = make_encoder(5, Architecture("micro", patch=8, position="interleaved", trained_side=32))
    modality = torch.randn(1, 1, 192, generator=torch.Generator().manual_seed(6))
    tensors = {name.replace("norm.", "norms_block.3.") if name.startswith("norm.") else name: value
               for name, value in plain.state_dict().items()}  # fmt: skip
    tensors |= {f"norms_block.{n}.{kind}": torch.randn(192) for n in range(3) for kind in ("weight", "bias")}
    tensors |= {"video_mod_embed": modality, "img_mod_embed": torch.randn(1, 1, 192),
                "patch_embed_img.proj.weight": torch.randn(192, 3, 1, 8, 8),
                "patch_embed_img.proj.bias": torch.randn(192)}  # fmt: skip
    content = {f"module.backbone.{name}": value for name, value in tensors.items()}
    torch.save({"ema_encoder": content, "predictor": {"norms.0.weight": torch.zeros(3)}}, tmp_path / "v21.pt")
    weights = read_weights(tmp_path / "v21.pt", SPEC)
    x = plain.patch_embed(CLIPS, None) + modality
    for block in plain.blocks:
        x = block(x, plain.positions.rotary(None))
    torch.testing.assert_close(weights.build_encoder()(CLIPS), plain.norm(x), atol=1e-5, rtol=1e-5)
    assert weights.predictor_shape is None


def damage(content: dict[str, Any], kind: str) -> dict[str, Any]:
    tensors = content["target_encoder"]
    if kind == "missing":
        del tensors["module.backbone.norm.bias"]
    elif kind == "unknown":
        tensors["module.backbone.cls_token"] = torch.zeros(192)
    elif kind == "shape":
        tensors["module.backbone.blocks.0.attn.qkv.weight"] = torch.zeros(576, 100)
    elif kind == "depth":
        tensors["module.backbone.blocks.4.norm1.weight"] = torch.zeros(192)
    elif kind == "other model":
        content["target_encoder"] = {"conv_proj.weight": torch.zeros(3)}
    elif kind == "predictor":
        del content["predictor"]["module.backbone.predictor_norm.bias"]
    else:
        return {"model": tensors}
    return content


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "norm.bias"), ("unknown", "cls_token"), ("shape", "576, 100"),
        ("depth", "blocks.4.attn.proj"), ("other model", "conv_proj"), ("no encoder", "target_encoder"),
        ("predictor", "predictor_norm.bias"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_what_was_found(file: Path, kind: str, says: str) -> None:
    torch.save(damage(torch.load(file), kind), file)
    with pytest.raises(CheckpointError, match=says):
        read_weights(file, SPEC)


def test_a_file_that_would_run_code_or_is_damaged_or_absent_is_refused(tmp_path: Path) -> None:
    torch.save({"encoder": SPEC}, tmp_path / "code.pt")
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04 and no more")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    cases = {
        "code": "refused", "half": "damaged", "tensor": "not a dictionary", "none": "is not a file, a folder",
        "other": r"has the entries \['a'\]",
    }  # fmt: skip
    for name, says in cases.items():
        with pytest.raises(CheckpointError, match=says):
            load_backbone(tmp_path / f"{name}.pt")
