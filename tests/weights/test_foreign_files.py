"""What files of weights turn out to be: each is read right or refused with a sentence; no code is run."""

from __future__ import annotations

import argparse
import json
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import predictor_of, weights_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from echojepa.backbones.discovr import DISCOVR
from echojepa.backbones.loading import load_backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Architecture, ConfigError, InputSpec, Untold
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import Origin, save_weights
from echojepa.weights.layouts import read_weights
from echojepa.weights.meta import OURS
from echojepa.weights.tensors import CheckpointError, load_foreign

SPEC = InputSpec(size=16, frames=4, seconds=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
TINY = "12x2x2x24"
ARCHITECTURE = Architecture(TINY, patch=8)
HEADS = Untold(heads=2)
CLIPS = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
PREFIX = "module.backbone."


def encoder(architecture: Architecture = ARCHITECTURE, spec: InputSpec = SPEC) -> VisionTransformer:
    made = VisionTransformer(architecture, spec, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return made.eval()


def predictor(mask_tokens: int = 2) -> Predictor:
    shape = PredictorShape(12, 1, 2, 12, mask_tokens)
    return Predictor(12, (2, 2, 2), shape, "vjepa2", torch.Generator().manual_seed(4))


def prefixed(module: torch.nn.Module, **more: Tensor) -> dict[str, Tensor]:
    plain = {key: value for key, value in module.state_dict().items() if key != OURS}
    return {PREFIX + key: value for key, value in (plain | more).items()}


def sines(grid: tuple[int, int, int], width: int) -> Tensor:
    """V-JEPA's 3-D table, written out by its description: time, row, column, of ceil(width / 6) * 2 each."""
    each = -(-width // 6) * 2
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), -1).reshape(-1, 3)
    rates = 1 / 10000 ** (np.arange(each // 2) / (each / 2))
    waves = [np.concatenate([np.sin(a), np.cos(a)], 1) for a in (places[:, [i]] * rates for i in range(3))]
    return torch.from_numpy(np.concatenate(waves, 1)[:, :width]).float()[None]


def features(path: Path, **options: Any) -> Tensor:
    return load_backbone(path, SPEC, **options)(CLIPS).tokens.clone()


def forward(network: VisionTransformer) -> Tensor:
    with torch.no_grad():
        return network(CLIPS.float() / 255)


# --- positions ---


def with_table(network: VisionTransformer, table: Tensor) -> Tensor:
    """What V-JEPA 1's class computes: the table is added, and nothing is turned."""
    with torch.no_grad():
        x = network.patch_embed(CLIPS.float() / 255, None) + table
        for block in network.blocks:
            x = block(x, None)
        return network.norm(x)


def test_a_file_of_v_jepa_1_adds_its_table_and_turns_nothing(tmp_path: Path) -> None:
    table, network = sines((2, 2, 2), 12), encoder()
    file = tmp_path / "v1.pt"
    more = {"predictor_pos_embed": sines((2, 2, 2), 12)}
    torch.save(
        {"target_encoder": prefixed(network, pos_embed=table), "predictor": prefixed(predictor(), **more)},
        file,
    )
    torch.testing.assert_close(features(file, untold=HEADS), with_table(network, table), atol=1e-5, rtol=1e-5)
    weights = read_weights(file, untold=HEADS)
    assert (weights.architecture.position, weights.spec.size, weights.spec.frames) == ("table", 16, 4)
    assert weights.predictor_shape and weights.predictor_shape.heads == 2
    ids = torch.arange(8)[None]
    assert torch.isfinite(predictor_of(weights)(torch.randn(1, 4, 12), ids[:, :4], ids[:, 4:])).all()
    backbone = VideoTransformer.from_pretrained(file, untold=HEADS)
    backbone.save_pretrained(tmp_path / "ours")
    again = load_backbone(tmp_path / "ours")
    assert torch.equal(again(CLIPS).tokens, backbone(CLIPS).tokens)


def test_a_table_is_stretched_over_other_pictures_as_its_own_code_does(tmp_path: Path) -> None:
    table = sines((2, 2, 2), 12)
    torch.save({"encoder": prefixed(encoder(), pos_embed=table)}, tmp_path / "v1.pt")
    weights = read_weights(tmp_path / "v1.pt", replace(SPEC, size=32), HEADS)
    lattice = table.view(1, 2, 2, 2, 12).permute(0, 4, 1, 2, 3)
    expected = torch.nn.functional.interpolate(lattice, scale_factor=(1, 2, 2), mode="trilinear")
    torch.testing.assert_close(weights.encoder[OURS], expected.flatten(2)[0].T)


def test_tables_that_are_not_added_do_not_count(tmp_path: Path) -> None:
    network = encoder()
    for name, more in (("none", {}), ("zeros", {"pos_embed": torch.zeros(1, 8, 12)})):
        torch.save({"encoder": prefixed(network, **more)}, tmp_path / f"{name}.pt")
        torch.testing.assert_close(features(tmp_path / f"{name}.pt", untold=HEADS), forward(network))
    tables = {"pos_embed": sines((32, 16, 16), 12)}, {"predictor_pos_embed": torch.ones(1, 8192, 12)}
    released = {"encoder": prefixed(network, **tables[0]), "predictor": prefixed(predictor(10), **tables[1])}
    torch.save(released, tmp_path / "released.pt")
    torch.testing.assert_close(features(tmp_path / "released.pt", untold=HEADS), forward(network))


def test_a_table_that_could_be_either_s_is_to_be_stated(tmp_path: Path) -> None:
    network, table = encoder(), sines((2, 2, 2), 12)
    file = tmp_path / "either.pt"
    torch.save({"encoder": prefixed(network, pos_embed=table), "predictor": prefixed(predictor(10))}, file)
    with pytest.raises(CheckpointError, match="State which"):
        load_backbone(file, SPEC, untold=HEADS)
    rotary = features(file, untold=Untold(heads=2, positions="rotary"))
    torch.testing.assert_close(rotary, forward(network))
    with pytest.warns(UserWarning, match="no position table"):
        added = features(file, untold=Untold(heads=2, positions="table"))
    torch.testing.assert_close(added, with_table(network, table), atol=1e-5, rtol=1e-5)


def test_interpolated_positions_can_be_switched_off_for_2_1_alone(tmp_path: Path) -> None:
    state = prefixed(encoder())
    second = {key.replace("backbone.norm.", "backbone.norms_block.3."): value for key, value in state.items()}
    torch.save({"ema_encoder": second}, tmp_path / "v21.pt")
    torch.save({"encoder": state}, tmp_path / "v2.pt")
    untold = Untold(heads=2, interpolate_rope=False)
    assert read_weights(tmp_path / "v21.pt", SPEC, HEADS).architecture.trained_side == 32
    assert read_weights(tmp_path / "v21.pt", SPEC, untold).architecture.trained_side is None
    for name, wrong in (("v2.pt", untold), ("v21.pt", Untold(heads=2, positions="table"))):
        with pytest.raises(CheckpointError, match=r"leave .* out"):
            read_weights(tmp_path / name, SPEC, wrong)


# --- predictors ---


def test_a_predictor_whose_heads_are_not_told_is_left_aside_until_they_are(tmp_path: Path) -> None:
    file, network = tmp_path / "v1.pt", encoder()
    more = {"predictor_pos_embed": sines((2, 2, 2), 15)}
    shape = PredictorShape(15, 1, 3, 12)
    odd = Predictor(12, (2, 2, 2), shape, "table", torch.Generator())
    content = {
        "encoder": prefixed(network, pos_embed=sines((2, 2, 2), 12)),
        "predictor": prefixed(odd, **more),
    }
    torch.save(content, file)
    with pytest.warns(UserWarning, match="predictor-heads"):
        assert read_weights(file, untold=HEADS).predictor_shape is None
    assert read_weights(file, untold=Untold(heads=2, predictor_heads=3)).predictor_shape == shape


def test_a_predictor_of_another_design_is_left_aside_with_a_message(tmp_path: Path) -> None:
    network = encoder()
    actions = prefixed(predictor(), **{"action_encoder.weight": torch.zeros(12, 7)})
    kinds = {"robot": actions, "another design": {"module.norms.0.weight": torch.zeros(3)}}
    for says, state in kinds.items():
        torch.save({"encoder": prefixed(network), "predictor": state}, tmp_path / "ac.pt")
        with pytest.warns(UserWarning, match=says):
            torch.testing.assert_close(features(tmp_path / "ac.pt", untold=HEADS), forward(network))
    for nothing in (None, {}):
        torch.save({"encoder": prefixed(network), "predictor": nothing}, tmp_path / "bare.pt")
        weights = read_weights(tmp_path / "bare.pt", SPEC, HEADS)
        assert weights.predictor_shape is None and not weights.predictor


# --- values ---


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nan", "NaN"), ("infinite", "NaN or infinity"), ("too large", "NaN or infinity"), ("int8", "int8"),
        ("int64", "int64"), ("bool", "bool"), ("complex", "complex64"), ("sparse", "sparse"),
        ("text", "not a tensor"), ("nothing", "NoneType"),
    ],
)  # fmt: skip
def test_tensors_that_are_no_finite_numbers_are_refused_in_every_layout(
    kind: str, says: str, tmp_path: Path
) -> None:
    bad: dict[str, Any] = {
        "nan": lambda v: v.index_fill(0, torch.tensor([1]), torch.nan), "infinite": lambda v: v + torch.inf,
        "too large": lambda v: v.double() + 1e300, "int8": lambda v: v.to(torch.int8),
        "bool": lambda v: v > 0, "int64": lambda v: v.long(), "complex": lambda v: v.to(torch.complex64),
        "sparse": lambda v: v.to_sparse(), "text": lambda v: "words", "nothing": lambda v: None,
    }  # fmt: skip
    state = prefixed(encoder())
    state[PREFIX + "blocks.1.norm2.bias"] = bad[kind](state[PREFIX + "blocks.1.norm2.bias"])
    torch.save({"encoder": state}, tmp_path / "meta.pt")
    plain = {key.removeprefix(PREFIX): value for key, value in state.items()}
    torch.save({"model": videomae_names(plain)}, tmp_path / "mae.pth")
    for name in ("meta.pt", "mae.pth"):
        with pytest.raises(CheckpointError, match=says):
            load_backbone(tmp_path / name, SPEC, untold=HEADS)


def test_half_precision_and_huge_finite_sums_are_fine(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in prefixed(encoder()).items()}
    state[PREFIX + "blocks.0.norm1.weight"] = torch.full((12,), 3e38)
    torch.save({"encoder": state}, tmp_path / "half.pt")
    assert load_backbone(tmp_path / "half.pt", SPEC, untold=HEADS).embed_dim == 12


# --- VideoMAE's own checkpoints ---


def videomae_names(state: dict[str, Any]) -> dict[str, Any]:
    """Tensors as MCG-NJU's code saves them: no bias of keys."""
    named: dict[str, Any] = {}
    for key, value in state.items():
        if key.endswith("qkv.bias"):
            named[key.replace("qkv.bias", "q_bias")], _, named[key.replace("qkv.bias", "v_bias")] = (
                value.chunk(3)
            )
        else:
            named[key] = value
    return named


def test_video_mae_s_own_checkpoints_load_however_they_were_saved(tmp_path: Path) -> None:
    state = videomae_names(encoder(replace(ARCHITECTURE, position="sincos")).state_dict())
    state = {f"encoder.{key}": value for key, value in state.items()}
    args = argparse.Namespace(model="pretrain_videomae", output_dir=Path("/somewhere"), opt_betas=[0.9, 0.95])
    numbers = {"best": np.float64(3.5), "count": np.int64(4), "curve": np.arange(3.0)}
    kinds: dict[str, dict[str, Any]] = {
        "args": {"model": state, "epoch": 9, "args": args, "scaler": {}},
        "deepspeed": {"module": state} | numbers,
        "state_dict": {"state_dict": state, "epoch": np.float32(2)}, "bare": state,
        "ordered": OrderedDict(state),
        "ddp": {"model": {f"module.{key}": v for key, v in state.items()}},
        "twice": {"model": {f"module.module.{key}": v for key, v in state.items()}},
        "compiled": {"model": {f"module._orig_mod.{key}": v for key, v in state.items()}},
    }  # fmt: skip
    expected = None
    for name, content in kinds.items():
        for zipped in (True, False):
            torch.save(content, tmp_path / f"{name}.pth", _use_new_zipfile_serialization=zipped)
            found = features(tmp_path / f"{name}.pth", untold=HEADS)
            expected = found if expected is None else expected
            assert torch.equal(found, expected), name


class Bomb:
    """An object that runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def test_no_code_of_a_file_is_run_and_what_needs_it_is_named(tmp_path: Path) -> None:
    state, touched = prefixed(encoder()), tmp_path / "touched"
    for beside in (Bomb(touched), InputSpec(), eval):
        torch.save({"encoder": state, "more": beside}, tmp_path / "bomb.pt")
        with pytest.raises(CheckpointError, match=r"an object of [\w.]+, which would need to run code"):
            load_backbone(tmp_path / "bomb.pt", SPEC)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"encoder": Bomb(touched)}))
    with pytest.raises(CheckpointError):
        load_backbone(tmp_path / "plain.pkl", SPEC)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "nothing"), (b"weights go here\n", "other data"), (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"), (b'{"a": 1}', "JSON"),
        (b"\x80\x02", "damaged"), (b"PK\x03\x04 and no more", "damaged"), (b"\x89HDF\r\n", "HDF5"),
        (b"\x80\x02}q\x00.", "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_torch_is_refused_with_what_it_is(
    content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        load_backbone(tmp_path / "weights.pt")


def test_a_cut_file_is_refused_at_any_length(tmp_path: Path) -> None:
    torch.save({"encoder": prefixed(encoder())}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError, match="damaged"):
            load_foreign(tmp_path / "cut.pt")


# --- sizes ---


def test_an_encoder_of_any_size_loads_and_says_what_it_is(tmp_path: Path) -> None:
    for size in ("144x5x3x576", "36x1x3x100", "64x3x1x256"):
        architecture = Architecture(size, patch=8)
        network = encoder(architecture)
        save_weights(tmp_path / size, weights_of(network, architecture, SPEC, Origin("mine")))
        torch.testing.assert_close(features(tmp_path / size), forward(network))
    torch.save({"encoder": prefixed(network)}, tmp_path / "vit.pt")
    assert read_weights(tmp_path / "vit.pt", SPEC).architecture.size == "64x3x1x256"
    torch.save({"encoder": prefixed(encoder())}, tmp_path / "narrow.pt")
    with pytest.raises(CheckpointError, match="--untold"):
        read_weights(tmp_path / "narrow.pt", SPEC)


def test_heads_of_an_odd_number_of_channels_load_where_nothing_is_turned(tmp_path: Path) -> None:
    odd = Architecture("18x2x2x36", patch=8, position="sincos")
    save_weights(tmp_path / "sines", weights_of(encoder(odd), odd, SPEC, Origin("mine")))
    torch.testing.assert_close(features(tmp_path / "sines"), forward(encoder(odd)))
    with pytest.raises(ConfigError, match="even number of channels"):
        VisionTransformer(replace(odd, position="vjepa2"), SPEC, torch.Generator())


@pytest.mark.parametrize(
    "size", ["144x1000000000x3x576", "144x100000x3x576", "144x5x7x576", "144x5x3", "0x5x3x576", "huger"]
)
def test_sizes_that_cannot_be_built_are_refused_before_anything_is(size: str) -> None:
    with pytest.raises(ConfigError):
        Architecture(size)


@pytest.mark.parametrize(
    ("place", "number"),
    [
        (("predictor", "depth"), 10**9), (("predictor", "mask_tokens"), 10**9), (("spec", "size"), 8 * 10**8),
        (("spec", "frames"), 2 * 10**9), (("architecture", "patch"), 10**9), (("predictor", "heads"), 0),
    ],
)  # fmt: skip
def test_a_card_that_claims_the_impossible_is_refused_before_anything_is_built(
    place: tuple[str, str], number: int, tmp_path: Path
) -> None:
    save_weights(tmp_path, weights_of(encoder(), ARCHITECTURE, SPEC, Origin("mine"), predictor()))
    card = json.loads((tmp_path / "encoder.json").read_text())
    card[place[0]][place[1]] = number
    (tmp_path / "encoder.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError):
        load_backbone(tmp_path)


# --- DISCOVR ---


def discovr_state(table: Tensor) -> dict[str, Tensor]:
    network = encoder()
    return videomae_names(dict(network.state_dict())) | {
        "cls_token": torch.randn(1, 1, 12),
        "pos_embed": table,
    }


def discovr_forward(state: dict[str, Tensor]) -> Tensor:
    """Their encoder, written out: class token first, table added, two heads, norm at the end."""
    x = encoder().patch_embed(CLIPS.float() / 255, None)
    x = torch.cat([state["cls_token"].expand(2, -1, -1), x], 1) + state["pos_embed"]
    norm = torch.nn.functional.layer_norm
    for n in range(2):
        own = {
            key.removeprefix(f"blocks.{n}."): v for key, v in state.items() if key.startswith(f"blocks.{n}.")
        }
        y = norm(x, (12,), own["norm1.weight"], own["norm1.bias"], 1e-6)
        bias = torch.cat([own["attn.q_bias"], torch.zeros(12), own["attn.v_bias"]])
        q, k, v = (y @ own["attn.qkv.weight"].T + bias).view(2, 9, 3, 2, 6).permute(2, 0, 3, 1, 4)
        y = ((q / 6**0.5 @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + y @ own["attn.proj.weight"].T + own["attn.proj.bias"]
        y = norm(x, (12,), own["norm2.weight"], own["norm2.bias"], 1e-6)
        y = torch.nn.functional.gelu(y @ own["mlp.fc1.weight"].T + own["mlp.fc1.bias"])
        x = x + y @ own["mlp.fc2.weight"].T + own["mlp.fc2.bias"]
    return norm(x, (12,), state["norm.weight"], state["norm.bias"], 1e-6)


def test_discovr_s_encoder_is_a_backbone_and_its_class_token_its_vector(tmp_path: Path) -> None:
    state = discovr_state(torch.randn(1, 9, 12))
    with torch.no_grad():
        expected = discovr_forward(state)
    whole = {f"encoder.{key}": value for key, value in state.items()}
    whole |= {"encoder.local_pos_embed": torch.zeros(1, 3, 12), "image_teacher.cls_token": torch.zeros(1, 1),
              "decoder.head.weight": torch.zeros(3, 3), "video_center": torch.zeros(1, 4)}  # fmt: skip
    args = argparse.Namespace(input_size=16, num_frames=4, sampling_rate=5)
    kinds: dict[str, Any] = {"whole": {"model": whole, "args": args}, "bare": state,
                             "tuned": {"module": state | {"head.weight": torch.zeros(2, 12)}}}  # fmt: skip
    for name, content in kinds.items():
        torch.save(content, tmp_path / f"{name}.pth")
        backbone = load_backbone(tmp_path / f"{name}.pth", SPEC, untold=HEADS)
        assert isinstance(backbone, DISCOVR) and backbone.embed_dim == 12
        output = backbone(CLIPS)
        torch.testing.assert_close(output.tokens.clone(), expected[:, 1:], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(output.pooled.clone(), expected[:, 0], atol=1e-5, rtol=1e-5)
    own = load_backbone(tmp_path / "whole.pth", untold=HEADS).spec
    assert (own.size, own.frames, own.stride) == (16, 4, 5)
    assert not torch.equal(backbone.random_start()(CLIPS).tokens, output.tokens)
    with pytest.raises(CheckpointError, match="positions of 8 tokens"):
        load_backbone(tmp_path / "bare.pth", untold=HEADS)


# --- folders ---


def folder(path: Path, parts: int) -> Path:
    """A Hugging Face folder of a tiny V-JEPA 2 in so many files."""
    transformers = pytest.importorskip("transformers")
    config = transformers.VJEPA2Config(
        patch_size=8, crop_size=16, frames_per_clip=4, hidden_size=144, num_attention_heads=3, mlp_ratio=4,
        num_hidden_layers=5, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
        pred_num_mask_tokens=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.VJEPA2Model(config)
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    state = list(model.state_dict().items())
    files = [f"model-{n + 1:05}-of-{parts:05}.safetensors" for n in range(parts)]
    shards = [dict(state[n::parts]) for n in range(parts)]
    for name, shard in zip(files, shards, strict=True):
        save_file({key: value.contiguous() for key, value in shard.items()}, path / name)
    index = {"weight_map": {key: name for name, shard in zip(files, shards, strict=True) for key in shard}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def test_the_checksum_of_a_sharded_folder_is_of_every_shard(tmp_path: Path) -> None:
    path = folder(tmp_path / "hf", 3)
    before = load_backbone(path)
    assert before.embed_dim == 144 and read_weights(path).architecture.size == "144x5x3x576"
    for number in (1, 2, 3):
        shard = path / f"model-{number:05}-of-00003.safetensors"
        content = shard.read_bytes()
        changed = bytearray(content)
        changed[-1] ^= 1
        shard.write_bytes(changed)
        assert load_backbone(path).sha256 != before.sha256
        shard.write_bytes(content)
    assert load_backbone(path).sha256 == before.sha256
    (path / "stray.safetensors").write_bytes(content)
    assert load_backbone(path).sha256 == before.sha256
    (path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks model-00002"):
        load_backbone(path)


def test_a_folder_with_weights_of_torch_in_place_of_safetensors_loads_the_same(tmp_path: Path) -> None:
    path = folder(tmp_path / "hf", 1)
    before = load_backbone(path)
    (path / "model.safetensors.index.json").unlink()
    (part,) = path.glob("*.safetensors")
    torch.save(load_file(part), path / "pytorch_model.bin")
    part.unlink()
    assert torch.equal(load_backbone(path)(CLIPS).tokens, before(CLIPS).tokens)


@pytest.mark.parametrize(
    "kind", ["cut", "no json", "a list", "incomplete", "text", "deeper", "wider", "other"]
)
def test_a_damaged_config_of_a_folder_is_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "hf", 1)
    config = path / "config.json"
    entries = json.loads(config.read_text())
    changed = {
        "cut": config.read_text()[:200], "no json": "model", "a list": "[1]",
        "deeper": {"num_hidden_layers": 10**9},
        "incomplete": {"num_attention_heads": None}, "text": {"crop_size": "256"},
        "wider": {"hidden_size": 10**9},
        "other": {"hidden_act": "relu"},
    }[kind]  # fmt: skip
    config.write_text(changed if isinstance(changed, str) else json.dumps(entries | changed))
    with pytest.raises((CheckpointError, ConfigError), match=r"config\.json"):
        load_backbone(path)
