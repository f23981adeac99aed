"""Probe files of the released code give the numbers that their heads give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import weights_of
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import Architecture, InputSpec
from echojepa.data.clips.clips import ClipDataset
from echojepa.evaluation.probes.official import CLIPS_PER_LOOP, OFFICIAL, load_official, load_official_probes
from echojepa.models.contract import prepare
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import Origin, save_weights
from echojepa.weights.tensors import CheckpointError

GRID, WIDTH = (2, 4, 4), 64


def make_heads(depth: int, views: int = 1, clips: int = 1) -> Probes:
    generator = torch.Generator().manual_seed(0)
    shape = ProbeShape(GRID, WIDTH, 3, depth, 16, views, clips, position=False)
    model = Probes(2, shape, Standardiser.identity(32, WIDTH), Scale(57, 11), generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def as_released(model: Probes, g: int, last: str) -> dict[str, Tensor]:
    """One head under the released names: kv fused, with a bias for keys that ours does not have."""
    ours = {name: value[g].detach() for name, value in model.named_parameters()}
    state: dict[str, Tensor] = {}
    if "pooler.query" in ours:
        cross = "pooler.cross_attention_block"
        state["pooler.query_tokens"] = ours.pop("pooler.query").view(1, 1, -1)
        keys, values = ours.pop("pooler.k.weight"), ours.pop("pooler.v.weight")
        state[f"{cross}.xattn.kv.weight"] = torch.cat([keys, values])
        state[f"{cross}.xattn.kv.bias"] = torch.cat([torch.randn(WIDTH), ours.pop("pooler.v.bias")])
        for name in [name for name in ours if name.startswith("pooler.")]:
            state[name.replace("pooler", cross).replace(f"{cross}.q.", f"{cross}.xattn.q.")] = ours.pop(name)
    for name, value in ours.items():
        name = name.replace("linear.", f"{last}.").replace("blocks.", "pooler.blocks.")
        name = name.replace(".qkv.", ".attn.qkv.").replace(".proj.", ".attn.proj.")
        state[name + ".weight" if name.endswith("_embed") else name] = value
    return {f"module.{name}": value for name, value in state.items()}


def write(path: Path, model: Probes, last: str = "regressor") -> Path:
    content: dict[str, Any] = {"classifiers": [as_released(model, g, last) for g in range(2)], "epoch": 20,
                               "best_val_acc": 0.8, "opt_grid": [{"lr": 1e-4}, {"lr": 5e-5}]}  # fmt: skip
    torch.save(content, path)
    return path


@pytest.mark.parametrize("last", ["linear", "regressor"])
@pytest.mark.parametrize("depth", [0, 1, 4])
def test_every_head_of_a_file_predicts_as_before(depth: int, last: str, tmp_path: Path) -> None:
    model = make_heads(depth)
    loaded = load_official_probes(write(tmp_path / "probe.pt", model, last), GRID, Scale(57, 11))
    tokens = torch.randn(3, 32, WIDTH)
    assert loaded.shape.depth == depth
    torch.testing.assert_close(loaded.predict(tokens), model.predict(tokens), atol=1e-4, rtol=1e-5)


def test_a_multi_view_file_knows_its_views_and_clips(tmp_path: Path) -> None:
    model = make_heads(4, views=2, clips=2)
    loaded = load_official_probes(write(tmp_path / "rvsp.pt", model), GRID, Scale(57, 11))
    tokens, present = torch.randn(2, 4, 32, WIDTH), torch.tensor([[True] * 4, [True, True, False, False]])
    assert (loaded.shape.views, loaded.shape.clips) == (2, 2)
    torch.testing.assert_close(loaded(tokens, present), model(tokens, present), atol=1e-5, rtol=1e-5)


def test_a_joint_table_of_slots_is_read_as_views_of_one_clip(tmp_path: Path) -> None:
    model = make_heads(1, views=3)
    content = torch.load(write(tmp_path / "joint.pt", model))
    for state in content["classifiers"]:
        table = state.pop("module.view_embed.weight") + state.pop("module.clip_embed.weight")
        state["module.slot_embed.weight"] = table
    torch.save(content, tmp_path / "joint.pt")
    loaded = load_official_probes(tmp_path / "joint.pt", GRID)
    tokens = torch.randn(2, 3, 32, WIDTH)
    torch.testing.assert_close(loaded(tokens), model(tokens), atol=1e-5, rtol=1e-5)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    content = torch.load(write(tmp_path / "probe.pt", make_heads(1)))
    first = content["classifiers"][0]
    name = "module.pooler.cross_attention_block.norm2.bias"
    cases = {
        "different designs": {"classifiers": [first, {k: v for k, v in first.items() if k != name}]},
        "norm2.bias": {"classifiers": [{k: v for k, v in first.items() if k != name}]},
        "a list": {"classifiers": []},
        "no linear": {"classifiers": [{"a": torch.zeros(3)}]},
        "extra": {"classifiers": [first | {"extra": torch.zeros(3)}]},
    }
    for says, other in cases.items():
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(CheckpointError, match=says):
            load_official_probes(tmp_path / "other.pt", GRID)


class OneLoop:
    """A store of one loop of numbered noise."""

    def __init__(self, frames: int, height: int, width: int) -> None:
        self.pictures = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
        self.times = np.arange(frames) / 30

    def loop(self, row: int) -> OneLoop:
        return self

    def frames(self, indices: list[int]) -> NDArray[np.uint8]:
        return self.pictures[indices]


@pytest.mark.parametrize(
    ("frames", "first", "second"),
    [
        (100, range(0, 32, 2), range(50, 82, 2)),
        (40, range(0, 32, 2), [*range(20, 40, 2), *[39] * 6]),
        (9, [0, 2, 4, 6, *[8] * 12], [4, 6, *[8] * 14]),
        (1, [0] * 16, [0] * 16),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 120), (150, 112)])
def test_official_probes_are_shown_the_pictures_they_were_trained_on(
    frames: int, first: list[int], second: list[int], height: int, width: int
) -> None:
    """Their transform by OpenCV: the short side to 256, the centre of 224; a clip of each half."""
    cv2 = pytest.importorskip("cv2")
    store: Any = OneLoop(frames, height, width)
    clips = ClipDataset(store, [0], OFFICIAL, clips_per_loop=CLIPS_PER_LOOP)
    size = (int(256 * width / min(height, width)), int(256 * height / min(height, width)))
    for number, chosen in enumerate((first, second)):
        clip, _ = clips[number]
        for place in (0, 5, 15):
            picture = cv2.resize(store.pictures[list(chosen)[place]], size, interpolation=cv2.INTER_LINEAR)
            top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
            theirs = picture[top : top + 224, left : left + 224].transpose(2, 0, 1)
            assert np.abs(clip[:, place].numpy().astype(int) - theirs.astype(int)).max() <= 1


def test_an_official_file_is_read_with_its_encoder_and_fed_as_it_was_trained(tmp_path: Path) -> None:
    spec = replace(OFFICIAL, size=16, frames=4, resized=18)
    architecture = Architecture("64x1x1x64", patch=8)
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
    save_weights(tmp_path / "encoder", weights_of(encoder, architecture, InputSpec(), Origin("mine")))
    model = make_heads(1)
    model = Probes(2, replace(model.shape, grid=(2, 2, 2)), Standardiser.identity(8, WIDTH), Scale(57, 11),
                   torch.Generator())  # fmt: skip
    official = load_official(write(tmp_path / "probe.pt", model), tmp_path / "encoder", Scale(57, 11), spec)
    store: Any = OneLoop(30, 20, 24)
    clips = torch.stack([clip for clip, _ in official.clips(store, [0])])
    assert clips.shape == (2, 3, 4, 16, 16)
    expected = model.predict(encoder(prepare(spec, clips)))
    torch.testing.assert_close(official.predict(clips), expected, atol=1e-4, rtol=1e-4)
    assert load_official.__defaults__ == (None, OFFICIAL)


def test_heads_that_claim_the_impossible_are_not_built(tmp_path: Path) -> None:
    content = torch.load(write(tmp_path / "probe.pt", make_heads(1)))
    bad = {"narrow": torch.zeros(3, 63), "nan": torch.full((3, WIDTH), torch.nan),
           "int": torch.zeros(3, WIDTH).int()}  # fmt: skip
    for name, value in bad.items():
        for state in content["classifiers"]:
            state["module.regressor.weight"] = value
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(CheckpointError):
            load_official_probes(tmp_path / f"{name}.pt", GRID)
    with pytest.raises(ValueError, match="at most"):
        ProbeShape((10**6, 10**6, 1), WIDTH, 3)
