"""What every backbone promises, over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from encoders import small_mvit, weights_of

import echojepa
from echojepa.backbones.contract import Backbone
from echojepa.backbones.controls import Constant
from echojepa.backbones.echoprime import EchoPrime
from echojepa.backbones.loading import CONTROLS
from echojepa.backbones.panecho import PanEcho
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Architecture, InputSpec, Layout
from echojepa.errors import UserError
from echojepa.models.contract import TokenGrid, prepare
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import Origin, save_weights
from echojepa.weights.layouts import write_weights
from echojepa.weights.tensors import CheckpointError

SPEC = InputSpec(size=64, frames=4, seconds=1.0)
KINDS = ("ours", "huggingface", "meta", "videomae", "echoprime", "panecho", "constant")
SHAPES = {"echoprime": (512, 16, 512), "panecho": (16, 768, 768), "constant": (8, 8, 8),
          "videomae": (32, 192, 192)}  # fmt: skip


def shrink(patch: pytest.MonkeyPatch) -> None:
    """The published networks on pictures of 32 pixels, EchoPrime's with two small blocks: what is claimed
    here does not depend on size, and `test_supervised` has them whole."""
    patch.setattr(EchoPrime, "fed", replace(EchoPrime.fed, size=32))
    patch.setattr(EchoPrime, "width", 16)
    patch.setattr(EchoPrime, "build", small_mvit)
    patch.setattr(PanEcho, "fed", replace(PanEcho.fed, size=32, resized=36))


@pytest.fixture(scope="module", params=KINDS)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield of_kind(request.param, tmp_path_factory)


def of_kind(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    made = {"videomae": lambda: VideoTransformer.untrained_videomae("micro", SPEC),
            "echoprime": EchoPrime.untrained,
            "panecho": PanEcho.untrained, "constant": lambda: Constant(SPEC)}  # fmt: skip
    if kind in made:
        return made[kind]()
    layouts: dict[str, Layout] = {"ours": "echojepa", "huggingface": "huggingface", "meta": "meta"}
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    generator = torch.Generator().manual_seed(0)
    encoder = VisionTransformer(Architecture("micro", patch=8), SPEC, generator)
    predictor = Predictor(192, encoder.grid, PredictorShape(32, 1, 1, 192), "vjepa2", generator)
    origin = Origin("test")
    write_weights(
        path, weights_of(encoder, Architecture("micro", patch=8), SPEC, origin, predictor), layouts[kind]
    )
    loaded = echojepa.load_backbone(path, SPEC)
    with torch.no_grad():  # in training, queries and keys are rotated in another order of sums
        expected = encoder(prepare(SPEC, clips_for(loaded)))
    assert torch.equal(loaded(clips_for(loaded)).tokens, expected)
    return loaded


@pytest.fixture(scope="module")
def together(backbone: Backbone) -> TokenGrid:
    """What it makes of two clips at once."""
    return backbone(clips_for(backbone))


@pytest.fixture(scope="module")
def alone(backbone: Backbone) -> TokenGrid:
    """What it makes of the second by itself."""
    return backbone(clips_for(backbone)[1:])


def clips_for(backbone: Backbone, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (count, 3, backbone.spec.frames, backbone.spec.size, backbone.spec.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def kind_of(backbone: Backbone) -> str:
    names = {"EchoPrime": "echoprime", "PanEcho": "panecho", "constant": "constant", "VideoMAE": "videomae"}
    return next((kind for word, kind in names.items() if word in backbone.name), "ours")


def test_tokens_fill_the_grid_and_shapes_are_the_architecture_s(
    backbone: Backbone, together: TokenGrid
) -> None:
    tokens, width, pooled = SHAPES.get(kind_of(backbone), (128, 192, 192))
    assert together.tokens.shape == (2, tokens, width) and together.pooled.shape == (2, pooled)
    assert backbone.embed_dim == width and together.tokens.dtype == torch.float32


def test_it_is_frozen_and_in_evaluation_mode(backbone: Backbone, alone: TokenGrid) -> None:
    assert not alone.tokens.requires_grad and not alone.pooled.requires_grad
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert not any(module.training for module in backbone.network.modules())


def test_a_clip_s_features_depend_on_that_clip_alone(together: TokenGrid, alone: TokenGrid) -> None:
    torch.testing.assert_close(alone.tokens[0], together.tokens[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.pooled[0], together.pooled[1], atol=1e-4, rtol=1e-4)


def test_pixels_are_prepared_once_by_the_spec_and_by_nobody_else(
    backbone: Backbone, alone: TokenGrid
) -> None:
    clips = clips_for(backbone)[1:]
    prepared = prepare(backbone.spec, clips)
    with torch.inference_mode():
        expected = backbone.features(prepared).tokens
    assert torch.equal(alone.tokens, expected)
    with pytest.raises(TypeError, match="uint8"):
        backbone(prepared)
    with pytest.raises(ValueError, match="expected clips"):
        backbone(clips[:, :, :-1])


def test_a_backbone_without_its_weights_is_called_an_untrained_architecture() -> None:
    for name, make in CONTROLS.items():
        if name.startswith("untrained:") and name != "untrained:videomae":
            assert make().name.startswith("untrained architecture (")
    assert (
        VideoTransformer.untrained_videomae("micro", SPEC).name == "untrained architecture (VideoMAE, micro)"
    )


def test_save_pretrained_and_from_pretrained_give_the_same_features(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture("micro", patch=8, position="interleaved", trained_side=16)
    encoder = VisionTransformer(architecture, SPEC, generator)
    save_weights(tmp_path / "first", weights_of(encoder, architecture, SPEC, Origin("mine")))
    backbone = VideoTransformer.from_pretrained(tmp_path / "first")
    backbone.save_pretrained(tmp_path / "saved")
    again = VideoTransformer.from_pretrained(tmp_path / "saved")
    clips = clips_for(backbone, 2)
    assert torch.equal(again(clips).tokens, backbone(clips).tokens)
    finer = echojepa.load_backbone(tmp_path / "saved", replace(SPEC, size=96))
    assert finer(clips).grid == (2, 12, 12)
    with torch.no_grad():
        encoder.norm.weight.mul_(2.0)
    save_weights(tmp_path / "first", weights_of(encoder, architecture, SPEC, Origin("mine")))
    with pytest.raises(UserError, match="changed since"):
        backbone.save_pretrained(tmp_path / "late")
    with pytest.raises(UserError, match="not a pretrained JEPA encoder"):
        VideoTransformer.untrained_videomae("micro", SPEC).save_pretrained(tmp_path / "other")


def test_an_input_that_cannot_be_changed_is_not_ignored() -> None:
    for name in ("constant", "untrained:echoprime", "untrained:panecho"):
        with pytest.raises(UserError, match="is fixed to"):
            echojepa.load_backbone(name, SPEC)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"constant, untrained:echoprime.*random:RUN"):
        echojepa.load_backbone("echoprime")
