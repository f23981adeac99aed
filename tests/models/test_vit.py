"""The encoder equals Hugging Face's V-JEPA 2 and plain code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import SIZES, Architecture, InputSpec, SizeName
from echojepa.models import vit
from echojepa.models.contract import TokenGrid, prepare
from echojepa.models.positions import RotatedHeads, rotary_tables, rotate
from echojepa.models.vit import VisionTransformer, attend, gather_tokens, plain_attention

SPEC = InputSpec(size=48, frames=4, seconds=1.0)
ARCHITECTURE = Architecture("micro", patch=8)
MICRO = SIZES["micro"]


@pytest.fixture(scope="module")
def encoder() -> VisionTransformer:
    return VisionTransformer(ARCHITECTURE, SPEC, torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return torch.randn(2, 3, 4, 48, 48, generator=torch.Generator().manual_seed(1))


def test_all_ids_equal_no_ids(encoder: VisionTransformer, clips: Tensor) -> None:
    everything = torch.arange(72).expand(2, -1)
    torch.testing.assert_close(encoder(clips, everything), encoder(clips))


def test_a_subset_equals_plain_blocks_over_those_embedded_tokens(
    encoder: VisionTransformer, clips: Tensor
) -> None:
    ids = torch.tensor([[0, 5, 17, 40, 71], [2, 3, 4, 50, 60]])
    x = encoder.patch_embed.proj(clips).flatten(2).transpose(1, 2)
    x = torch.stack([x[b, ids[b]] for b in range(2)])
    rotary = encoder.positions.rotary(ids)
    for block in encoder.blocks:
        x = block(x, rotary)
    torch.testing.assert_close(encoder(clips, ids), encoder.norm(x), atol=1e-5, rtol=1e-5)


def test_attention_rows_sum_to_one_and_bad_blocks_are_refused(
    encoder: VisionTransformer, clips: Tensor
) -> None:
    attention = encoder.attention(clips, -1)
    assert attention.shape == (2, MICRO.heads, 72, 72)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, MICRO.heads, 72))
    torch.testing.assert_close(attention, encoder.attention(clips, MICRO.depth - 1))
    with pytest.raises(IndexError):
        encoder.attention(clips, MICRO.depth)


@pytest.mark.parametrize(
    ("size", "millions"),
    [
        ("tiny", 5.5),
        ("small", 21.6),
        ("base", 86.2),
        ("large", 303.9),
        ("huge", 631.7),
        ("giant", 1012.2),
        ("gigantic", 1843.9),
    ],
)
def test_sizes_have_the_field_s_parameter_counts(size: SizeName, millions: float) -> None:
    with torch.device("meta"):
        model = VisionTransformer(Architecture(size), InputSpec(), torch.Generator())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.4)


def test_pixels_are_prepared_once_and_only_from_uint8() -> None:
    spec = InputSpec(size=32, frames=2, seconds=1.0)
    clips = torch.full((1, 3, 2, 64, 64), 255, dtype=torch.uint8)
    prepared = prepare(spec, clips)
    expected = (1 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    torch.testing.assert_close(prepared[0, :, 0, 0, 0], expected)
    assert prepared.shape == (1, 3, 2, 32, 32)
    with pytest.raises(TypeError, match="uint8"):
        prepare(spec, prepared)


def test_a_clip_that_cannot_be_cut_into_tubelets_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples"):
        Architecture("micro", patch=16).grid(InputSpec(size=100, frames=8))
    with pytest.raises(ValueError, match="grid"):
        TokenGrid(torch.zeros(1, 10, 4), (2, 2, 2))


@pytest.mark.parametrize("trained_side", [None, 2, 5])
def test_interleaved_rotary_is_complex_multiplication_and_vjepa2_s_is_not(trained_side: int | None) -> None:
    grid, width, each = (2, 3, 3), 64, 20
    x = torch.randn(1, 1, 18, width, generator=torch.Generator().manual_seed(0))
    positions = torch.cartesian_prod(*(torch.arange(n) for n in grid)).double()
    if trained_side:
        positions[:, 1:] *= (trained_side - 1) / 2
    frequency = 10000.0 ** (-torch.arange(each // 2, dtype=torch.float64) / (each / 2))
    angles = (positions.unsqueeze(-1) * frequency).flatten(1)
    pairs = torch.view_as_complex(x[0, 0, :, : 3 * each].double().unflatten(-1, (-1, 2)))
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(1).float()
    rotated = rotate(x, *rotary_tables(grid, width, "interleaved", trained_side))[0, 0]
    torch.testing.assert_close(rotated, torch.cat([turned, x[0, 0, :, 3 * each :]], dim=1))
    assert not torch.allclose(rotate(x, *rotary_tables(grid, width, "vjepa2", trained_side))[0, 0], rotated)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_training_rotates_queries_and_keys_and_the_gradient_is_autograds(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    cos, sin = (table.to(kind) for table in rotary_tables((2, 3, 3), 64, "vjepa2"))
    heads = torch.randn(2, 18, 3, 4, 64, generator=generator).to(kind).requires_grad_()
    weights = torch.randn(3, 2, 4, 18, 64, generator=generator).to(kind)
    q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
    plain = torch.stack([rotate(q, cos, sin), rotate(k, cos, sin), v])
    fast = torch.stack(RotatedHeads.apply(heads, cos, sin))
    near = {"rtol": 1e-6, "atol": 1e-6} if kind == torch.float32 else {"rtol": 2e-2, "atol": 4e-2}
    torch.testing.assert_close(fast, plain, **near)
    turned = weights.mT.contiguous().mT  # a gradient of another layout, as other attention kernels leave
    for given in (weights, turned):
        gradients = (
            torch.autograd.grad((x * given).sum(), heads, retain_graph=True)[0] for x in (plain, fast)
        )
        torch.testing.assert_close(*gradients, **near)


def test_plain_attention_is_softmax_attention_and_taken_for_short_bf16_on_amx_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 40, 16, generator=generator).requires_grad_()
    fused, plain = F.scaled_dot_product_attention(q, k, v), plain_attention(q, k, v)
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-6)
    gradients = (torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (plain, fused))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    taken = []
    monkeypatch.setattr(vit, "plain_attention", lambda q, k, v: taken.append(q.dtype) or v)
    for amx in (False, True):
        monkeypatch.setattr(vit, "has_amx", lambda amx=amx: amx)
        for x in (q.detach(), q.detach().bfloat16(), torch.zeros(1, 1, 257, 8, dtype=torch.bfloat16)):
            attend(x, x, x)
    assert taken == [torch.bfloat16]


def test_tokens_are_gathered_by_clip() -> None:
    tokens = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 6], [3, 3], [5, 1]])
    expected = torch.stack([row[chosen] for row, chosen in zip(tokens, ids, strict=True)])
    assert torch.equal(gather_tokens(tokens, ids), expected)
