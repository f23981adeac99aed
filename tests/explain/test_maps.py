"""Claims about maps: what attention, roll-out, a probe's pooling and occlusion say of clips with a known
answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echojepa.backbones.controls import Constant
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Architecture, InputSpec
from echojepa.errors import ConfigError, UserError
from echojepa.explain.heads import ClipReader
from echojepa.explain.occlusion import filling, groups, hidden, occlusion
from echojepa.explain.sources import ClipBatch, check_source, received, source_of
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.models.vit import VisionTransformer

SPEC = InputSpec(size=32, frames=4, seconds=0.4)
GRID = (2, 4, 4)
WIDTH, TOKENS = 24, 32


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def encoder() -> VideoTransformer:
    """A small encoder with weights large enough that its attention is not even."""
    network = VisionTransformer(Architecture("24x3x2x48", patch=8), SPEC, generator(0))
    for value in network.parameters():
        value.data *= 6
    return VideoTransformer("small", network, SPEC)


def clips_of(seed: int, count: int = 2) -> ClipBatch:
    """Noise inside a sector that is the lower half of the picture; black above."""
    pixels = torch.randint(40, 90, (count, 1, 4, 32, 32), dtype=torch.uint8, generator=generator(seed))
    sector = torch.zeros(count, 32, 32, dtype=torch.bool)
    sector[:, 16:] = True
    return ClipBatch((pixels * sector[:, None, None]).expand(-1, 3, -1, -1, -1), sector)


class Reader(torch.nn.Module):
    """A head whose prediction is a fixed sum over tokens: it reads what it is told to."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.shape = ProbeShape(GRID, WIDTH, 1, attention_heads=2)
        self.register_buffer("target", torch.tensor([0.0, 1.0]))
        self.weights = weights

    def predict(self, tokens: torch.Tensor) -> torch.Tensor:
        return (tokens.mean(-1) @ self.weights)[None, :, None]


class Brightness(VideoTransformer):
    """Each token is the mean brightness of its own tubelet: nothing is mixed."""

    def features(self, pixels: torch.Tensor):
        made = super().features(pixels)
        cells = torch.nn.functional.adaptive_avg_pool3d(pixels.mean(1, keepdim=True), GRID)
        tokens = cells.flatten(1)[..., None].expand(-1, -1, WIDTH)
        return type(made)(tokens, GRID)


@pytest.fixture(scope="module")
def plain(encoder: VideoTransformer) -> Brightness:
    return Brightness("brightness", encoder.encoder, SPEC)


@pytest.mark.parametrize("name", ["layer:0", "layer:-1", "layer:1:1", "rollout", "occlusion"])
def test_a_map_is_never_negative_and_its_mean_is_one(name: str, encoder: VideoTransformer) -> None:
    maps = source_of(name, encoder).of(clips_of(1))
    assert maps.shape == (2, *GRID) and (maps >= 0).all()
    torch.testing.assert_close(maps.mean(dim=(1, 2, 3)), torch.ones(2))
    assert maps.std() > 1e-3


@pytest.mark.parametrize("name", ["layer:-1", "rollout", "occlusion"])
def test_identical_loops_have_identical_maps_and_others_have_others(
    name: str, encoder: VideoTransformer
) -> None:
    one, other = clips_of(1, 1), clips_of(2, 1)
    twice = ClipBatch(one.pixels.repeat(2, 1, 1, 1, 1), one.sector.repeat(2, 1, 1))
    maps = source_of(name, encoder).of(twice)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[:1], source_of(name, encoder).of(one))
    assert not torch.allclose(maps[:1], source_of(name, encoder).of(other))


def test_attention_of_every_query_sums_to_one_in_every_layer_and_head(encoder: VideoTransformer) -> None:
    for attention in encoder.attentions(clips_of(3).pixels):
        assert attention.shape == (2, 2, TOKENS, TOKENS)
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, TOKENS))


def test_received_attention_finds_the_token_that_everybody_looks_at() -> None:
    attention = torch.full((3, 24, 24), 0.5 / 23)
    attention[:, :, 7] = 0.5
    found = received(attention / attention.sum(-1, keepdim=True))
    assert found.mean().item() == pytest.approx(1.0) and int(found.argmax()) == 7


def test_the_mean_of_a_layer_s_heads_is_the_mean_and_no_head_is_picked(encoder: VideoTransformer) -> None:
    clips = clips_of(4)
    heads = [source_of(f"layer:1:{head}", encoder).of(clips) for head in (0, 1)]
    torch.testing.assert_close(source_of("layer:1", encoder).of(clips), (heads[0] + heads[1]) / 2)
    torch.testing.assert_close(
        source_of("layer:-2", encoder).of(clips), source_of("layer:1", encoder).of(clips)
    )


def test_roll_out_is_the_product_of_half_attention_and_half_identity(encoder: VideoTransformer) -> None:
    """Against matrices multiplied here, in double precision and in the paper's order."""
    clips = clips_of(5, 1)
    layers = [
        np.asarray(attention[0].mean(0), dtype=np.float64) for attention in encoder.attentions(clips.pixels)
    ]
    flow = np.eye(TOKENS)
    for layer in layers:
        mixed = layer + np.eye(TOKENS)
        flow = (mixed / mixed.sum(1, keepdims=True)) @ flow
    expected = flow.mean(0) * TOKENS
    made = source_of("rollout", encoder).of(clips)[0].flatten()
    np.testing.assert_allclose(made, expected, rtol=1e-4)


def test_occlusion_finds_an_injected_bright_spot(plain: Brightness, encoder: VideoTransformer) -> None:
    """In one tubelet of the sector; read by features that are brightness, and by an encoder that mixes
    all."""
    clips = clips_of(6, 1)
    pixels = clips.pixels.clone()
    pixels[:, :, 2:, 16:24, 8:16] = 255
    for backbone in (plain, encoder):
        maps = occlusion(backbone, None, pixels, clips.sector, (1, 1, 1))[0]
        assert np.unravel_index(int(maps.argmax()), GRID) == (1, 2, 1)
        assert maps[1, 2, 1] > 3 * maps.median()


def test_hiding_what_a_probe_reads_moves_it_and_hiding_anything_else_does_not(plain: Brightness) -> None:
    """The probe reads one token; the background, outside the sector, moves nothing in any encoder."""
    clips = clips_of(7, 1)
    pixels = clips.pixels.clone()
    pixels[:, :, :2, 24:, 16:24] //= 2
    weights = torch.zeros(GRID)
    weights[0, 3, 2] = 1.0
    maps = occlusion(plain, ClipReader(Reader(weights.flatten())), pixels, clips.sector, (1, 1, 1))[0]
    assert maps[0, 3, 2] > 0.01
    maps[0, 3, 2] = 0
    assert (maps == 0).all()


def test_hiding_the_background_moves_nothing(encoder: VideoTransformer) -> None:
    clips = clips_of(8)
    maps = occlusion(encoder, None, clips.pixels, clips.sector, (1, 2, 2))
    assert (maps[:, :, :2] == 0).all() and (maps[:, :, 2:] > 0).all()


def test_what_is_hidden_stands_still_and_the_rest_is_untouched() -> None:
    clips = clips_of(9, 1)
    clip, sector = clips.pixels[0], clips.sector[0]
    cells = list(groups(GRID, (1, 2, 2)))
    assert len(cells) == 8
    out = hidden(clip, filling(clip, sector, 16), sector, GRID, cells[-1])
    box = out[:, 2:, 16:, 16:].float()
    assert (box.std(dim=1) == 0).all() and box[0, 0].std() < 0.3 * clip[0, 2, 16:, 16:].float().std()
    assert abs(box.mean() - clip[:, :, 16:, 16:].float().mean()) < 3
    out[:, 2:, 16:, 16:] = clip[:, 2:, 16:, 16:]
    assert torch.equal(out, clip)


def test_a_probe_s_pooling_is_shown_and_asked_for_where_there_is_one(encoder: VideoTransformer) -> None:
    shape = ProbeShape(GRID, WIDTH, 1, attention_heads=2)
    head = Probes(1, shape, Standardiser.identity(TOKENS, WIDTH), Scale(50.0, 10.0), generator(1))
    clips = clips_of(10)
    maps = source_of("probe", encoder, ClipReader(head)).of(clips)
    torch.testing.assert_close(maps.mean(dim=(1, 2, 3)), torch.ones(2))
    by_hand = head.attention(encoder(clips.pixels).tokens)[0].mean(1) * TOKENS
    torch.testing.assert_close(maps.flatten(1), by_hand.detach())
    assert "%" in source_of("occlusion", encoder, ClipReader(head), unit="%").said
    with pytest.raises(ConfigError, match="--results"):
        source_of("probe", encoder)
    linear = Probes(
        1, ProbeShape(GRID, WIDTH, 1, 0), Standardiser.identity(TOKENS, WIDTH), Scale(), generator(1)
    )
    with pytest.raises(UserError, match="attentive"):
        source_of("probe", encoder, ClipReader(linear)).of(clips)


def test_a_probe_over_time_is_shown_place_by_place_and_asked_of_mean_and_spread(
    encoder: VideoTransformer,
) -> None:
    shape = ProbeShape((2, *GRID[1:]), WIDTH, 1, attention_heads=2)
    head = Probes(1, shape, Standardiser.identity(TOKENS, WIDTH), Scale(50.0, 10.0), generator(1))
    clips, reader = clips_of(10, 1), ClipReader(head, over_time=True)
    slots = encoder(clips.pixels).tokens.unflatten(1, (GRID[0], -1))
    read = torch.cat([slots.mean(1), slots.std(1, correction=0)], dim=1)
    mean, spread = head.attention(read)[0].mean(1).unflatten(1, (2, *GRID[1:])).detach().unbind(1)
    maps = source_of("probe", encoder, reader).of(clips)
    torch.testing.assert_close(maps[:, 0], (mean + spread) * TOKENS / GRID[0])
    assert torch.equal(maps[:, 0], maps[:, 1]) and maps.std() > 0.01
    assert maps.mean().item() == pytest.approx(1, abs=1e-5)
    cell = (slice(0, 1), slice(3, 4), slice(0, 1))
    fill = filling(clips.pixels[0], clips.sector[0], 8)
    without = hidden(clips.pixels[0], fill, clips.sector[0], GRID, cell)
    slots = encoder(without[None]).tokens.unflatten(1, (GRID[0], -1))
    other = torch.cat([slots.mean(1), slots.std(1, correction=0)], dim=1)
    moved = (head.predict(other) - head.predict(read)).abs().item()
    effect = occlusion(encoder, reader, clips.pixels, clips.sector, (1, 1, 1))
    assert effect[0, 0, 3, 0].item() == pytest.approx(moved, rel=1e-3) and moved > 1e-4


def test_what_a_backbone_lacks_is_said(encoder: VideoTransformer) -> None:
    with pytest.raises(ConfigError, match="layers 0 to 2, or -3 to -1"):
        source_of("layer:3", encoder)
    with pytest.raises(ConfigError, match="heads 0 to 1"):
        source_of("layer:0:2", encoder)
    with pytest.raises(ConfigError, match=r"unknown source 'head'. Known: layer:N, layer:N:HEAD, occlusion"):
        check_source("head")
    with pytest.raises(UserError, match="take the source `occlusion`"):
        source_of("rollout", Constant(SPEC))
    maps = source_of("occlusion", Constant(SPEC)).of(clips_of(1))
    assert torch.equal(maps, torch.ones(2, 2, 2, 2)), "what reads nothing prefers nothing"
