"""Probes of every depth against plain code and transformers' pooler; one view or many."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from encoders import standardiser_of
from torch import Tensor

from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser, drop_views, sincos_position

GRID = (2, 4, 4)
WIDTH = 48
SHAPE = ProbeShape(GRID, WIDTH, outputs=5, attention_heads=4)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_probes(shape: ProbeShape, heads: int = 2, plain: bool = False) -> Probes:
    """Heads that differ, as after training."""
    fitted = standardiser_of(torch.randn(20, 32, WIDTH, generator=generator(1)))
    fitted = Standardiser.identity(32, WIDTH) if plain else fitted
    model = Probes(heads, shape, fitted, Scale(50, 10), generator(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(3)))
    return model.eval()


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v)]
    scores = split[0] @ split[1].transpose(-2, -1) / split[0].shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    return (scores.softmax(-1) @ split[2]).transpose(1, 2).flatten(-2)


def plain_head(model: Probes, g: int, tokens: Tensor, seen: Tensor | None) -> Tensor:
    """The released probe written out for one head: keys and values of every token, nothing folded."""
    p = {name: value[g] for name, value in model.named_parameters()}
    heads, slots = model.shape.attention_heads, model.shape.slots

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"])

    def mlp(name: str, x: Tensor) -> Tensor:
        return linear(f"{name}.fc2", F.gelu(linear(f"{name}.fc1", x)))

    x = (tokens - model.input_mean) / model.input_std
    if slots > 1:
        for slot in range(slots):
            view, clip = divmod(slot, model.shape.clips)
            x[:, slot] += p["view_embed"][view] + p["clip_embed"][clip]
    x = x.flatten(1, 2)
    for number in range(len(model.blocks)):
        name = f"blocks.{number}"
        q, k, v = linear(f"{name}.qkv", norm(f"{name}.norm1", x)).chunk(3, -1)
        x = x + linear(f"{name}.proj", plain_attention(q, k, v, heads, seen))
        x = x + mlp(f"{name}.mlp", norm(f"{name}.norm2", x))
    if model.pooler is None:
        weight = torch.ones(x.shape[:2]) if seen is None else seen.float()
        mean = torch.stack([row[w > 0].mean(0) for row, w in zip(x, weight, strict=True)])
        return linear("linear", norm("norm", mean))
    normed = norm("pooler.norm1", x)
    place = sincos_position(GRID, WIDTH).repeat(slots, 1) * model.shape.position
    query = p["pooler.query"].expand(len(x), 1, -1)
    keys, values = linear("pooler.k", normed + place), linear("pooler.v", normed)
    y = query + plain_attention(linear("pooler.q", query), keys, values, heads, seen)
    y = y + mlp("pooler.mlp", norm("pooler.norm2", y))
    return linear("linear", y.squeeze(1))


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("depth", [0, 1, 4])
def test_every_depth_equals_the_released_probe_written_out(depth: int, views: int) -> None:
    shape = replace(SHAPE, depth=depth, views=views, clips=2 if views > 1 else 1)
    model = make_probes(shape)
    tokens = torch.randn(3, shape.slots, 32, WIDTH, generator=generator(4))
    present = torch.ones(3, shape.slots, dtype=torch.bool)
    if views > 1:
        present[0, :2], present[2, 1:5] = False, False
    found = model(tokens, present if views > 1 else None)
    seen = present.repeat_interleave(32, dim=1) if views > 1 else None
    for g in range(2):
        torch.testing.assert_close(found[g], plain_head(model, g, tokens.clone(), seen), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.predict(tokens, present), found * 10 + 50, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("depth", [1, 4])
def test_the_pooler_equals_transformers_vjepa2_classifier(depth: int) -> None:
    """Its pooler has depth - 1 self-attention layers and the released cross-attention."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2AttentivePooler

    config = transformers.VJEPA2Config(
        hidden_size=WIDTH,
        num_attention_heads=4,
        mlp_ratio=4,
        num_pooler_layers=depth - 1,
        layer_norm_eps=1e-5,
    )
    theirs = VJEPA2AttentivePooler(config).eval()
    model = make_probes(replace(SHAPE, depth=depth, position=False), heads=1, plain=True)
    ours = {name: value[0].detach() for name, value in model.named_parameters()}
    names = {"norm1": "layer_norm1", "norm2": "layer_norm2"}
    state = {"query_tokens": ours["pooler.query"].view(1, 1, -1)}
    for number in range(depth - 1):
        prefix = f"self_attention_layers.{number}"
        for kind in ("weight", "bias"):
            parts = zip("qkv", ours[f"blocks.{number}.qkv.{kind}"].chunk(3), strict=True)
            state |= {f"{prefix}.self_attn.{part}_proj.{kind}": value for part, value in parts}
            state[f"{prefix}.self_attn.out_proj.{kind}"] = ours[f"blocks.{number}.proj.{kind}"]
            for mine, other in (names | {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}).items():
                state[f"{prefix}.{other}.{kind}"] = ours[f"blocks.{number}.{mine}.{kind}"]
    for kind in ("weight", "bias"):
        for mine, other in (names | {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2", "q": "cross_attn.q_proj",
                                     "v": "cross_attn.v_proj"}).items():  # fmt: skip
            state[f"cross_attention_layer.{other}.{kind}"] = ours[f"pooler.{mine}.{kind}"]
    state["cross_attention_layer.cross_attn.k_proj.weight"] = ours["pooler.k.weight"]
    state["cross_attention_layer.cross_attn.k_proj.bias"] = torch.randn(WIDTH, generator=generator(9))
    theirs.load_state_dict(state, strict=True)
    tokens = torch.randn(3, 32, WIDTH, generator=generator(4))
    with torch.no_grad():
        expected = F.linear(theirs(tokens).view(3, WIDTH), ours["linear.weight"], ours["linear.bias"])
    torch.testing.assert_close(model(tokens)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_absent_slots_change_nothing_whatever_they_hold(depth: int) -> None:
    model = make_probes(replace(SHAPE, depth=depth, views=2, clips=2))
    tokens = torch.randn(2, 4, 32, WIDTH, generator=generator(5))
    present = torch.tensor([[True, True, False, False], [False, True, True, True]])
    before = model(tokens, present)
    tokens[~present] = 1e3
    torch.testing.assert_close(model(tokens, present), before, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(tokens), before)


def test_views_and_clips_are_told_apart() -> None:
    model = make_probes(replace(SHAPE, views=2, clips=2))
    tokens = torch.randn(1, 4, 32, WIDTH, generator=generator(6))
    for order in ([2, 3, 0, 1], [1, 0, 3, 2]):
        assert not torch.allclose(model(tokens[:, order]), model(tokens), atol=1e-3)


def test_attention_is_a_weighting_of_present_tokens() -> None:
    model = make_probes(replace(SHAPE, depth=2, views=2, clips=1))
    present = torch.tensor([[True, False]])
    attention = model.attention(torch.randn(1, 2, 32, WIDTH, generator=generator(7)), present)
    assert attention.shape == (2, 1, 4, 64)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 1, 4))
    assert (attention[..., 32:] == 0).all()
    with pytest.raises(ValueError, match="linear probe has no attention"):
        make_probes(replace(SHAPE, depth=0)).attention(torch.zeros(1, 32, WIDTH))


@pytest.mark.parametrize("width", [48, 192, 1024])
def test_a_new_probe_s_attention_is_near_the_mean_and_not_stuck_in_it(width: int) -> None:
    shape = ProbeShape((2, 4, 4), width, 1, position=False)
    tokens = torch.randn(16, 32, width, generator=generator(1))
    model = Probes(1, shape, Standardiser.identity(32, width), Scale(), generator(0))
    scores = model.attention(tokens).detach().log()
    spread = (scores - scores.mean(-1, keepdim=True)).std()
    assert 0.25 < spread < 1.0  # with 0.02 in every matrix: 0.0014 at width 192


def test_wrong_slots_and_empty_studies_are_refused() -> None:
    model = make_probes(replace(SHAPE, views=2, clips=2))
    with pytest.raises(ValueError, match="4 slots"):
        model(torch.zeros(1, 3, 32, WIDTH))
    with pytest.raises(ValueError, match="a slot in every study"):
        model(torch.zeros(1, 4, 32, WIDTH), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="attention heads divide"):
        replace(SHAPE, attention_heads=5)


def test_dropping_views_hides_whole_views_at_the_rate_asked_for_and_never_all() -> None:
    shape = replace(SHAPE, views=3, clips=2)
    present = torch.ones(4000, 6, dtype=torch.bool)
    present[:1000, 2:] = False
    present[1000:2000, 3] = False
    kept = drop_views(present, shape, 0.3, generator(8))
    assert torch.equal(kept[:1000], present[:1000])
    assert not (kept & ~present).any() and kept.any(1).all()
    whole = kept[2000:].unflatten(1, (3, 2))
    assert torch.equal(whole[..., 0], whole[..., 1])
    assert 1 - whole[..., 0].float().mean() == pytest.approx(0.3 - 0.3**3 / 3, abs=0.02)
    assert torch.equal(drop_views(present, shape, 0.0, generator(8)), present)


@pytest.mark.parametrize("width", [48, 128, 192])
def test_positions_of_all_tokens_differ(width: int) -> None:
    position = sincos_position((4, 12, 12), width)
    assert position.shape == (576, width)
    assert torch.cdist(position, position).fill_diagonal_(9).min() > 0.05
