"""The pixel objective equals transformers' VideoMAE, loss and gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from echojepa.config import SIZES, TUBE_MASK, Architecture, InputSpec, PositionKind
from echojepa.models.contract import prepare
from echojepa.models.masking import Mask, sample_mask
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.videomae import VideoMAE, pixel_targets
from echojepa.models.vit import VisionTransformer

SPEC = InputSpec(size=64, frames=4, seconds=1.0)
MICRO = SIZES["micro"]
PIXELS = 2 * 8 * 8 * 3


def make_videomae(position: PositionKind, width: int = 96) -> VideoMAE:
    generator = torch.Generator().manual_seed(0)
    encoder = VisionTransformer(Architecture("micro", patch=8, position=position), SPEC, generator)
    decoder = Predictor(192, encoder.grid, PredictorShape(width, 2, 3, PIXELS), position, generator)
    model = VideoMAE(encoder, decoder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
            if name.endswith("qkv.bias"):
                parameter.chunk(3)[1].zero_()
        decoder.predictor_embed.bias.zero_()
    return model


def make_batch() -> tuple[Tensor, Mask]:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randint(0, 256, (2, 3, 4, 64, 64), dtype=torch.uint8, generator=generator)
    return prepare(SPEC, raw), sample_mask(TUBE_MASK, (2, 8, 8), 2, generator)


def loss_of(model: VideoMAE, clips: Tensor, mask: Mask) -> Tensor:
    (targets,) = model.targets(clips, [mask])
    return model.loss(clips, mask, targets)


def to_transformers(model: VideoMAE) -> dict[str, Tensor]:
    """Our tensors under the names of VideoMAEForPreTraining; it has no bias on keys, nor on its bridge."""
    renamed: dict[str, Tensor] = {}

    def block(prefix: str, part: Any) -> None:
        q, k, v = part.attn.qkv.weight.chunk(3)
        bias = part.attn.qkv.bias.chunk(3)
        inner = f"{prefix}.attention.attention"
        renamed.update({f"{inner}.query.weight": q, f"{inner}.key.weight": k, f"{inner}.value.weight": v})
        renamed.update({f"{inner}.query.bias": bias[0], f"{inner}.value.bias": bias[2]})
        pairs = {"attention.output.dense": part.attn.proj, "intermediate.dense": part.mlp.fc1,
                 "output.dense": part.mlp.fc2, "layernorm_before": part.norm1,
                 "layernorm_after": part.norm2}  # fmt: skip
        for name, layer in pairs.items():
            renamed.update({f"{prefix}.{name}.{key}": value for key, value in layer.state_dict().items()})

    projection = "videomae.embeddings.patch_embeddings.projection"
    for key, value in model.encoder.patch_embed.proj.state_dict().items():
        renamed[f"{projection}.{key}"] = value
    for number, part in enumerate(model.encoder.blocks):
        block(f"videomae.encoder.layer.{number}", part)
    for number, part in enumerate(model.predictor.predictor_blocks):
        block(f"decoder.decoder_layers.{number}", part)
    layers = {"videomae.layernorm": model.encoder.norm, "decoder.norm": model.predictor.predictor_norm,
              "decoder.head": model.predictor.predictor_proj}  # fmt: skip
    for name, layer in layers.items():
        renamed |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    renamed["encoder_to_decoder.weight"] = model.predictor.predictor_embed.weight
    renamed["mask_token"] = model.predictor.mask_tokens[0]
    return {name: value.detach() for name, value in renamed.items()}


def theirs_of(model: VideoMAE) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        image_size=64, patch_size=8, num_frames=4, hidden_size=192, num_hidden_layers=MICRO.depth,
        num_attention_heads=MICRO.heads, intermediate_size=MICRO.hidden, decoder_num_hidden_layers=2,
        decoder_hidden_size=96, decoder_num_attention_heads=3, decoder_intermediate_size=384,
        use_mean_pooling=False, layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = transformers.VideoMAEForPreTraining(config).eval()
    theirs.load_state_dict(to_transformers(model), strict=True)
    return theirs


def test_features_loss_and_gradients_equal_transformers_videomae() -> None:
    model = make_videomae("sincos")
    theirs = theirs_of(model)
    clips, mask = make_batch()
    hidden = torch.zeros(2, 128, dtype=torch.bool).scatter(1, mask.target_ids, True)
    videos = clips.transpose(1, 2)
    with torch.no_grad():
        features = theirs.videomae(videos).last_hidden_state
    torch.testing.assert_close(model.encoder(clips), features, atol=1e-5, rtol=1e-5)
    output = theirs(videos, bool_masked_pos=hidden)
    loss = loss_of(model, clips, mask)
    torch.testing.assert_close(loss, output.loss, atol=1e-5, rtol=1e-5)
    output.loss.backward()
    loss.backward()
    for mine, other in (
        (
            model.encoder.patch_embed.proj.weight,
            theirs.videomae.embeddings.patch_embeddings.projection.weight,
        ),
        (model.predictor.mask_tokens[0], theirs.mask_token),
        (model.predictor.predictor_proj.weight, theirs.decoder.head.weight),
    ):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_a_bias_on_keys_changes_nothing_and_gets_no_gradient() -> None:
    model = make_videomae("sincos")
    clips, mask = make_batch()
    before = loss_of(model, clips, mask)
    before.backward()
    with torch.no_grad():
        for block in model.encoder.blocks:
            _, key, _ = block.attn.qkv.bias.chunk(3)
            assert block.attn.qkv.bias.grad.chunk(3)[1].abs().max() < 1e-6
            key.normal_()
    torch.testing.assert_close(loss_of(model, clips, mask), before, atol=1e-5, rtol=1e-5)


def test_targets_do_not_depend_on_how_pixels_were_normalised() -> None:
    clips, _ = make_batch()
    targets = pixel_targets(clips, 2, 8)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1, 1) for x in (SPEC.mean, SPEC.std))
    torch.testing.assert_close(targets, pixel_targets(clips * std + mean, 2, 8), atol=1e-3, rtol=1e-3)
    by_channel = targets.unflatten(2, (128, 3))
    torch.testing.assert_close(by_channel.mean(2), torch.zeros(2, 128, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_channel.std(2), torch.ones(2, 128, 3), atol=1e-3, rtol=0)


def test_the_controlled_baseline_has_jepa_s_own_encoder_and_all_of_it_learns() -> None:
    model = make_videomae("vjepa2")
    clips, mask = make_batch()
    loss_of(model, clips, mask).backward()
    assert model.result is model.encoder
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_tube_mask_hides_the_same_nine_tenths_at_every_time() -> None:
    mask = sample_mask(TUBE_MASK, (8, 14, 14), 3, torch.Generator().manual_seed(0))
    assert mask.context_ids.shape == (3, 160) and mask.target_ids.shape == (3, 1408) and mask.redraws == 0
    places = mask.target_ids.view(3, 8, 176) - 196 * torch.arange(8)[:, None]
    assert (places == places[:, :1]).all()
    assert not torch.equal(places[0], places[1])


def test_videomae_large_has_the_number_of_parameters_of_transformers() -> None:
    """342,994,944 counted before, and 2,048 of the last norm, which that count left out. Ours has biases of
    keys and of the bridge to the decoder besides, all zero in a foreign file."""
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        encoder = VisionTransformer(Architecture("large", position="sincos"), InputSpec(), torch.Generator())
        decoder = Predictor(1024, encoder.grid, PredictorShape(512, 12, 8, 1536), "sincos", torch.Generator())
        config = transformers.VideoMAEConfig(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            decoder_hidden_size=512, decoder_num_hidden_layers=12, decoder_num_attention_heads=8,
            decoder_intermediate_size=2048, use_mean_pooling=False,
        )  # fmt: skip
        theirs = transformers.VideoMAEForPreTraining(config)
    ours = sum(p.numel() for part in (encoder, decoder) for p in part.parameters())
    expected = sum(p.numel() for p in theirs.parameters())
    assert ours - (24 * 1024 + 12 * 512 + 512) == expected == 342_994_944 + 2_048
