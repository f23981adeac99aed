"""Claims about the loop: a stopped run goes on as if it had not been stopped, and weights load strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from encoders import predictor_of

from echojepa.backbones.loading import load_backbone
from echojepa.config import (
    PAPER_MASKS,
    TIME_MASK,
    TUBE_MASK,
    Architecture,
    ConfigError,
    InputSpec,
    LatentConfig,
    PretrainConfig,
)
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.records import decode, encode
from echojepa.models.building import build_encoder
from echojepa.progress import quiet
from echojepa.recipes import RECIPES, smoke
from echojepa.training import loader, rotation
from echojepa.training import pretrain as run_of
from echojepa.training.hardware import computed_on, working_dtype
from echojepa.training.journal import read_lines
from echojepa.training.loader import OWN_PICTURES
from echojepa.training.pretrain import pretrain, training_loops
from echojepa.training.start import read_start
from echojepa.weights.folder import load_weights
from echojepa.weights.tensors import CheckpointError


class Stop(Exception):
    """A power cut."""


def stop_at(step: int):
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            raise Stop

    return progress


def last_state(run: Path) -> dict[str, torch.Tensor]:
    found = rotation.find(run)
    assert found.path
    return rotation.read(found.path, "")


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, moments, EMA, order of clips, masks and metrics: all but the seconds."""
    states = last_state(one), last_state(other)
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    logs = [read_lines(run / "metrics.jsonl") for run in (one, other)]
    for line in logs[0] + logs[1]:
        del line["seconds"], line["waited"]
    assert logs[0] == logs[1]


def recipe(dataset: Path, out: Path) -> PretrainConfig:
    """`smoke` on smaller pictures."""
    return replace(smoke(dataset, out), spec=InputSpec(64, 4, 0.8))


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    config = recipe(dataset, tmp_path_factory.mktemp("run"))
    pretrain(config, quiet)
    return config


def test_resumed_equals_uninterrupted_bitwise(finished: PretrainConfig, tmp_path: Path) -> None:
    config = replace(finished, out=tmp_path)
    for step in (1, 3, 5):
        with pytest.raises(Stop):
            pretrain(config, stop_at(step))
    pretrain(config, quiet)
    assert_same_run(finished.out, tmp_path)
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == list(range(6))


def test_a_run_that_goes_on_elsewhere_says_so_in_its_card(
    finished: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = computed_on(torch.device("cpu"), working_dtype("auto", torch.device("cpu")))
    assert load_weights(finished.out).origin.computed_on == (here,)
    config = replace(finished, out=tmp_path)
    with pytest.raises(Stop):
        pretrain(config, stop_at(3))
    monkeypatch.setattr(run_of, "computed_on", lambda device, dtype: "another machine")
    pretrain(config, quiet)
    assert load_weights(tmp_path).origin.computed_on == (here, "another machine")
    monkeypatch.setattr(run_of, "computed_on", lambda device, dtype: "a third one")
    pretrain(config, quiet)
    assert load_weights(tmp_path).origin.computed_on == (here, "another machine"), "no step was made there"


def test_precision_and_instructions_are_in_the_words_for_a_machine() -> None:
    said = [computed_on(torch.device("cpu"), dtype) for dtype in (torch.float32, torch.bfloat16)]
    assert said[0].endswith(", float32") and said[1].endswith(", bf16") and said[0][:-9] == said[1][:-6]
    capable = torch.cpu.get_capabilities().get("avx512_bf16")
    assert ("with bf16" in said[0] or "AMX" in said[0]) == bool(capable)
    assert working_dtype("auto", torch.device("cpu")) == (torch.bfloat16 if capable else torch.float32)


def test_options_beside_the_paper_resume_bitwise_and_kept_pictures_change_nothing(
    dataset: Path, tmp_path: Path
) -> None:
    """Centred targets have a memory; a split in time draws coins; pictures are read in another way."""
    options = {
        "masks": (*PAPER_MASKS, TIME_MASK),
        "latent": LatentConfig(centred=True, scaled=True),
        "augment": "shift",
        "steps": 4,
    }
    plain = replace(smoke(dataset, tmp_path / "plain"), spec=InputSpec(32, 16, 0.8), batch_size=2, **options)
    pretrain(plain, quiet)
    kept = replace(plain, out=tmp_path / "kept", pictures=tmp_path / "kept" / OWN_PICTURES)
    with pytest.raises(Stop):
        pretrain(kept, stop_at(3))
    pretrain(kept, quiet)
    assert_same_run(plain.out, kept.out)
    assert list(kept.pictures.iterdir()), "a named folder keeps them for later runs, wherever it is"
    assert last_state(kept.out)["model.statistics.steps"].item() == 4
    assert read_start(kept.out).target_encoder.keys() == read_start(kept.out).encoder.keys()


def test_a_run_keeps_its_own_pictures_until_its_end_where_that_pays_and_fits(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read often enough, and small enough; it may differ after a stop, being no part of a run's identity."""
    monkeypatch.setattr(loader, "WORTH_KEEPING", 2)
    loops = len(training_loops(LoopStore.open(dataset), InputSpec(32, 16, 0.8)))
    often = replace(
        smoke(dataset, tmp_path / "often"), spec=InputSpec(32, 16, 0.8), batch_size=loops, steps=2
    )
    for config, kept in (
        (often, True),
        (replace(often, out=tmp_path / "seldom", batch_size=loops - 1), False),
        (replace(often, out=tmp_path / "large", pictures_gb=0), False),
    ):
        with pytest.raises(Stop):
            pretrain(config, stop_at(1))
        assert (config.out / OWN_PICTURES).exists() == kept
    pretrain(often, quiet)
    assert not (often.out / OWN_PICTURES).exists()
    pretrain(replace(often, out=tmp_path / "large"), quiet)
    assert_same_run(often.out, tmp_path / "large")


def test_the_saved_encoder_is_the_ema_and_it_moved(finished: PretrainConfig) -> None:
    weights = load_weights(finished.out).check()
    encoder = weights.build_encoder()
    state = last_state(finished.out)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state[f"model.target_encoder.{name}"])
    start = build_encoder(finished).state_dict()
    assert not torch.equal(encoder.state_dict()["norm.weight"], start["norm.weight"])
    origin = weights.origin
    assert (origin.name, origin.steps, origin.clips) == ("jepa", 6, 24) and weights.spec == finished.spec


def test_a_teacher_makes_the_targets_and_stays_and_the_encoder_is_what_a_run_makes(
    finished: PretrainConfig, tmp_path: Path
) -> None:
    config = replace(finished, out=tmp_path / "taught", seed=1, latent=LatentConfig(teacher=finished.out))
    with pytest.raises(Stop):
        pretrain(config, stop_at(3))
    pretrain(config, quiet)
    state, teacher = last_state(config.out), last_state(finished.out)
    made = load_weights(config.out).encoder
    for name, tensor in made.items():
        assert torch.equal(state[f"model.target_encoder.{name}"], teacher[f"model.target_encoder.{name}"])
        assert torch.equal(tensor, state[f"model.encoder.{name}"])
    first = build_encoder(config).state_dict()
    assert not torch.equal(made["norm.weight"], first["norm.weight"])
    other = replace(config, out=tmp_path / "other", architecture=Architecture("tiny", patch=8))
    with pytest.raises(CheckpointError, match="set the run's --architecture"):
        pretrain(other, quiet)


def test_the_predictor_is_saved_beside_the_encoder(finished: PretrainConfig) -> None:
    state = last_state(finished.out)
    for name, tensor in predictor_of(load_weights(finished.out)).state_dict().items():
        assert torch.equal(tensor, state[f"model.predictor.{name}"])


def test_the_pixel_baseline_shares_the_loop_and_resumes_bitwise(dataset: Path, tmp_path: Path) -> None:
    one = replace(recipe(dataset, tmp_path / "one"), objective="videomae", masks=(TUBE_MASK,))
    other = replace(one, out=tmp_path / "other")
    pretrain(one, quiet)
    with pytest.raises(Stop):
        pretrain(other, stop_at(3))
    pretrain(other, quiet)
    weights, again = load_weights(one.out), load_weights(other.out)
    assert weights.origin.name == "videomae" and weights.sha256 == again.sha256
    start = build_encoder(one).state_dict()
    assert not torch.equal(weights.encoder["blocks.0.mlp.fc1.weight"], start["blocks.0.mlp.fc1.weight"])
    assert load_backbone(one.out).name == "MAE"


def test_random_is_the_start_and_both_backbones_keep_the_contract(finished: PretrainConfig) -> None:
    clips = torch.randint(0, 256, (3, 3, 4, 120, 120), dtype=torch.uint8)
    for name in (str(finished.out), f"random:{finished.out}"):
        backbone = load_backbone(name)
        together = backbone(clips)
        assert together.grid == (2, 8, 8) and together.tokens.shape == (3, 128, backbone.embed_dim)
        alone = torch.cat([backbone(clip[None]).tokens for clip in clips])
        torch.testing.assert_close(together.tokens, alone, atol=1e-5, rtol=1e-5)
        assert not together.tokens.requires_grad
    assert torch.equal(
        load_backbone(f"random:{finished.out}").encoder.norm.weight,  # pyright: ignore
        build_encoder(finished).norm.weight,
    )


def test_damaged_or_foreign_weights_are_refused(finished: PretrainConfig, tmp_path: Path) -> None:
    for name in ("encoder.json", "encoder.safetensors", "config.json"):
        (tmp_path / name).write_bytes((finished.out / name).read_bytes())
    with (tmp_path / "encoder.safetensors").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"abc")
    with pytest.raises(CheckpointError, match="not the file"):
        load_weights(tmp_path)
    with pytest.raises(CheckpointError, match="is not a file, a folder"):
        load_backbone(str(tmp_path / "absent"))


def test_a_folder_of_another_run_is_not_written_into(finished: PretrainConfig) -> None:
    with pytest.raises(ConfigError, match="holds another run with different seed"):
        pretrain(replace(finished, seed=7), quiet)


def test_only_training_patients_are_seen(store: LoopStore) -> None:
    splits = store.metadata(["split"])["split"].to_pylist()
    rows = training_loops(store, InputSpec())["row"].to_pylist()
    assert rows and rows == [row for row, split in enumerate(splits) if split == "train"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_and_its_config_survives_json(name: str) -> None:
    config = RECIPES[name](Path("data"), Path("out"))
    with torch.device("meta"):
        fine_enough = 12 if any(mask.blocks for mask in config.masks) else 4
        assert build_encoder(config).grid[1] >= fine_enough
    assert decode(PretrainConfig, encode(config)) == config


def test_unknown_missing_and_ill_typed_settings_are_named(finished: PretrainConfig) -> None:
    facts = json.loads(encode(finished))
    with pytest.raises(ConfigError, match="stepz"):
        decode(PretrainConfig, json.dumps(facts | {"stepz": 3}))
    with pytest.raises(ConfigError, match="batch_size"):
        decode(PretrainConfig, json.dumps({k: v for k, v in facts.items() if k != "batch_size"}))
    with pytest.raises(ConfigError, match="steps"):
        decode(PretrainConfig, json.dumps(facts | {"steps": "many"}))
