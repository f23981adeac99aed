"""Files of the original VideoMAE: MCG-NJU's layout and Hugging Face's, pretrained and fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echojepa.backbones.loading import load_backbone
from echojepa.config import InputSpec
from echojepa.models.contract import prepare
from echojepa.weights.tensors import CheckpointError

SPEC = InputSpec(size=64, frames=4, seconds=1.0)
CLIPS = torch.randint(
    0, 256, (2, 3, 4, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
)


def theirs(kind: str, mean_pooling: bool) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=64, patch_size=8, num_frames=4, hidden_size=192, num_hidden_layers=4,
        num_attention_heads=3, intermediate_size=768, decoder_num_hidden_layers=1, decoder_hidden_size=96,
        decoder_num_attention_heads=3, decoder_intermediate_size=384, use_mean_pooling=mean_pooling,
    )  # fmt: skip
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model


def as_original(model: Any, prefix: str) -> dict[str, Tensor]:
    """A Hugging Face model's tensors under the names that MCG-NJU's code saves."""
    names = (("embeddings.patch_embeddings.projection", "patch_embed.proj"), ("encoder.layer", "blocks"),
             ("attention.output.dense", "attn.proj"), ("intermediate.dense", "mlp.fc1"),
             ("output.dense", "mlp.fc2"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
             ("layernorm", "norm"), ("attention.attention.query.bias", "attn.q_bias"),
             ("attention.attention.value.bias", "attn.v_bias"))  # fmt: skip
    state = {key.removeprefix("videomae."): value for key, value in model.state_dict().items()}
    original = {}
    for key, value in state.items():
        if key.startswith(("decoder", "encoder_to", "mask_token", "classifier", "fc_norm")):
            original[key.replace("classifier", "head")] = value
            continue
        if key.endswith("query.weight"):
            parts = [state[key.replace("query", part)] for part in ("query", "key", "value")]
            key, value = key.replace("attention.attention.query", "attn.qkv"), torch.cat(parts)
        elif key.endswith(("key.weight", "value.weight")):
            continue
        for mine, other in names:
            key = key.replace(mine, other)
        original[prefix + key] = value
    return original


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("VideoMAEForPreTraining", False), ("VideoMAEForVideoClassification", True), ("VideoMAEModel", True)],
)
def test_both_layouts_give_the_un_pooled_grid_of_transformers(
    kind: str, pooling: bool, layout: str, tmp_path: Path
) -> None:
    model = theirs(kind, pooling)
    path = tmp_path / "weights"
    if layout == "folder":
        model.save_pretrained(path)
    else:
        torch.save({"model": as_original(model, "" if pooling else "encoder."), "epoch": 9}, path)
    backbone = load_backbone(path, SPEC)
    output = backbone(CLIPS)
    inner = getattr(model, "videomae", model)
    with torch.no_grad():
        expected = inner(prepare(SPEC, CLIPS).transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(output.tokens.clone(), expected, atol=1e-5, rtol=1e-5)
    assert output.grid == (2, 8, 8) and len(backbone.sha256) == 64
    if kind == "VideoMAEForVideoClassification":
        norm = nn.LayerNorm(192)
        norm.load_state_dict(model.fc_norm.state_dict())
        torch.testing.assert_close(output.pooled.clone(), norm(expected.mean(1)), atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(output.pooled.clone(), expected.mean(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("lost", "says"), [("blocks.2.attn.v_bias", "qkv.bias"), ("blocks.0.norm1.bias", "norm1.bias")]
)
def test_a_file_with_a_tensor_missing_is_refused(lost: str, says: str, tmp_path: Path) -> None:
    tensors = as_original(theirs("VideoMAEForPreTraining", False), "encoder.")
    del tensors[f"encoder.{lost}"]
    torch.save({"model": tensors}, tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match=says):
        load_backbone(tmp_path / "mae.pth", SPEC)
