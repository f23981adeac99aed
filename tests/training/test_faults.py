"""Claims about what a run survives: power cuts, damaged checkpoints, a full disk, bad clips, no numbers."""

from __future__ import annotations

import random
import resource
import shutil
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch

from echojepa.config import FaultConfig, InputSpec, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import Loop
from echojepa.models.building import build_objective
from echojepa.models.contract import prepare
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.training import pretrain as pretrain_module
from echojepa.training import rotation
from echojepa.training import step as step_module
from echojepa.training.building import build_optimizer
from echojepa.training.distributed import World
from echojepa.training.guard import FaultError
from echojepa.training.journal import read_lines
from echojepa.training.loader import Steps
from echojepa.training.monitors import Monitor
from echojepa.training.pretrain import Run, pretrain, training_loops
from echojepa.training.step import TrainStep
from echojepa.weights.tensors import CheckpointError


def run_in_child(config: PretrainConfig, largest_file: int = resource.RLIM_INFINITY) -> None:
    """A whole process' work; `largest_file` bytes are what its disk takes."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    pretrain(config, quiet)


@pytest.fixture(scope="module")
def config(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Twelve small steps, a checkpoint at every second."""
    recipe = smoke(dataset, tmp_path_factory.mktemp("undisturbed"))
    return replace(
        recipe, spec=InputSpec(64, 2, 0.4),
        batch_size=2, steps=12, checkpoint_every=2, monitor_every=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(config: PretrainConfig) -> Path:
    """The folder of a run that nothing happened to."""
    pretrain(config, quiet)
    return config.out


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, moments, EMA, order of clips, masks and metrics: all but the seconds."""
    paths = [rotation.checkpoints(run)[0] for run in (one, other)]
    states = [rotation.read(path, "") for path in paths]
    assert states[0].keys() == states[1].keys() and any(name.endswith("exp_avg_sq") for name in states[0])
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    logs = [read_lines(run / "metrics.jsonl") for run in (one, other)]
    for line in logs[0] + logs[1]:
        del line["seconds"], line["waited"]
    assert logs[0] == logs[1]


def kill_until(kills: int, config: PretrainConfig, processes: ForkServerContext, whole: float) -> int:
    """Start the run and kill -9 it at random moments, then let it end; kills that hit a living process."""
    draws, hit = random.Random(5), 0
    while hit < kills:
        child = processes.Process(target=run_in_child, args=(config,))
        child.start()
        child.join(draws.uniform(0.2, 1.0) * whole)
        if child.exitcode is not None:  # it came to its end: the next run is a new one
            assert child.exitcode == 0
            return hit
        child.kill()
        child.join()
        hit += 1
    child = processes.Process(target=run_in_child, args=(config,))
    child.start()
    child.join()
    assert child.exitcode == 0
    return hit


def survive(
    kills: int, config: PretrainConfig, undisturbed: Path, folder: Path, processes: ForkServerContext
) -> None:
    seconds = sum(line["seconds"] + line["waited"] for line in read_lines(undisturbed / "metrics.jsonl"))
    hit, number = 0, 0
    while hit < kills:
        killed = replace(config, out=folder / str(number))
        hit, number = hit + kill_until(min(5, kills - hit), killed, processes, seconds), number + 1
        assert_same_run(undisturbed, killed.out)
        shutil.rmtree(killed.out)


def test_five_kills_at_random_moments_change_nothing(
    config: PretrainConfig, undisturbed: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    survive(5, config, undisturbed, tmp_path, processes)


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_change_nothing(
    config: PretrainConfig, undisturbed: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    survive(100, config, undisturbed, tmp_path, processes)


def half_way(config: PretrainConfig, undisturbed: Path, out: Path) -> PretrainConfig:
    """The same run in another folder, with its last two checkpoints and its log."""
    shutil.copytree(undisturbed, out)
    return replace(config, out=out)


@pytest.mark.parametrize("harm", ["cut", "changed", "missing", "no facts"])
def test_a_damaged_newest_checkpoint_costs_its_steps_and_is_named(
    config: PretrainConfig, undisturbed: Path, tmp_path: Path, harm: str
) -> None:
    run = half_way(config, undisturbed, tmp_path / "run")
    newest, before = rotation.checkpoints(run.out)
    file = next(newest.glob("*.safetensors"))
    content = file.read_bytes()
    if harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "changed":
        file.write_bytes(content[:-3] + b"abc")
    elif harm == "missing":
        file.unlink()
    else:
        (newest / rotation.FACTS).unlink()
    assert rotation.find(run.out).path == before
    pretrain(run, quiet)
    assert_same_run(undisturbed, run.out)
    (event,) = read_lines(run.out / "events.jsonl")
    assert event["event"] == "damaged checkpoint" and newest.name in event["reason"]
    assert event["step"] == int(before.name) and "the one before is used" in event["reason"]


def test_with_every_checkpoint_damaged_the_run_says_so(
    config: PretrainConfig, undisturbed: Path, tmp_path: Path
) -> None:
    run = half_way(config, undisturbed, tmp_path / "run")
    for path in rotation.checkpoints(run.out):
        (path / rotation.FACTS).write_text("{}")
    with pytest.raises(CheckpointError, match="delete the run's folder to start again"):
        pretrain(run, quiet)


def test_a_full_disk_costs_no_checkpoint_and_the_run_goes_on(
    config: PretrainConfig, undisturbed: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    run = half_way(config, undisturbed, tmp_path / "run")
    newest, before = rotation.checkpoints(run.out)
    shutil.rmtree(newest)
    kept = {file.name: file.read_bytes() for file in before.iterdir()}
    largest = max(map(len, kept.values()))
    child = processes.Process(target=run_in_child, args=(run, largest // 2))
    child.start()
    child.join()
    assert child.exitcode == 1
    assert [path.name for path in (run.out / rotation.FOLDER).iterdir()] == [before.name]
    assert {file.name: file.read_bytes() for file in before.iterdir()} == kept
    pretrain(run, quiet)
    assert_same_run(undisturbed, run.out)


def poison(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Make the gradient of these steps no number, as an overflow would."""
    real = step_module.gradient_norm
    count = iter(range(10**6))

    def norm(model: torch.nn.Module) -> float:
        return float("nan") if next(count) in steps else real(model)

    monkeypatch.setattr(step_module, "gradient_norm", norm)


def test_a_step_that_is_no_number_moves_no_weight_and_is_written_down(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(config, out=tmp_path, steps=3, checkpoint_every=1)
    poison(monkeypatch, {1})
    pretrain(run, quiet)
    before, after = (rotation.read(path, "") for path in reversed(rotation.checkpoints(tmp_path)))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line.get("nonfinite") for line in lines] == [None, ["gradient"], None]
    assert {float(v) for n, v in after.items() if n.endswith(".step")} == {
        2.0
    }  # of three steps two were taken
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_too_many_steps_that_are_no_number_end_the_run(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(config, out=tmp_path, faults=FaultConfig(max_nonfinite=2))
    poison(monkeypatch, {1, 4, 6})
    with pytest.raises(FaultError, match=r"steps \[1, 4, 6\].*lower optim.lr"):
        pretrain(run, quiet)
    assert read_lines(tmp_path / "events.jsonl")[-1]["event"] == "stopped"


def damage(monkeypatch: pytest.MonkeyPatch, rows: set[int]) -> None:
    """Make these rows of the store unreadable."""
    real = LoopStore.loop

    def loop(self: LoopStore, row: int) -> Loop:
        if row in rows:
            raise OSError("cannot identify image file in /a/private/folder")
        return real(self, row)

    monkeypatch.setattr(LoopStore, "loop", loop)


def loops_of(dataset: Path) -> dict[int, str]:
    """Row and id of each training loop."""
    store = LoopStore.open(dataset)
    rows = training_loops(store, InputSpec())["row"].to_pylist()
    return dict(zip(rows, store.loop_ids(rows), strict=True))


def test_a_damaged_loop_is_named_and_left_out_and_replaced_by_nothing(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops, run = loops_of(config.data), replace(config, out=tmp_path, batch_size=4)
    steps = Steps(LoopStore.open(config.data), np.array(list(loops)), run, World(0, 1, torch.device("cpu")))
    hit = steps[1]
    row = int(steps.clips.rows[steps.keys(1)[2][1]])
    monkeypatch.setattr(Run, "look", lambda self: {})
    monkeypatch.setattr(
        pretrain_module,
        "make_monitors",
        lambda *_: (Monitor(torch.zeros(1, 3, 1, 1, 1), [], [], config.spec), None),
    )
    damage(monkeypatch, {row})
    batch = steps[1]
    assert batch.damaged == ((row, "OSError"),) and batch.planned == 4
    assert torch.equal(batch.clips, hit.clips[[0, 1, 3]])
    assert all(
        torch.equal(some.context_ids, every.context_ids[[0, 1, 3]])
        for some, every in zip(batch.masks, hit.masks, strict=True)
    )
    pretrain(run, quiet)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert lines[1]["damaged"] == {loops[row]: "OSError"} and "damaged" not in lines[0]
    assert "private" not in "".join(file.read_text() for file in tmp_path.glob("*.jsonl"))


def test_a_left_out_clip_has_no_gradient_and_the_others_keep_theirs(config: PretrainConfig) -> None:
    """The mean stays one over the planned clips, so that it does not matter which rank the clip was of."""
    loops = loops_of(config.data)
    steps = Steps(
        LoopStore.open(config.data), np.array(list(loops)), config, World(0, 1, torch.device("cpu"))
    )
    batch, gradients = steps[0], []
    for kept in (batch, batch.part(0, 1)):
        model = build_objective(config)
        step = TrainStep(config, World(0, 1, torch.device("cpu")), model, model,
                         build_optimizer(model, config), torch.float32, 10)  # fmt: skip
        step.forward_and_backward(replace(kept, planned=2))
        gradients.append(model.encoder.norm.weight.grad)
    other = build_objective(config)
    part = batch.part(1, 2)
    prepared = prepare(config.spec, part.clips)
    targets = other.targets(prepared, part.masks)
    losses = [other.loss(prepared, *pair) for pair in zip(part.masks, targets, strict=True)]
    (torch.stack(losses).mean() / 2).backward()
    assert other.encoder.norm.weight.grad is not None
    torch.testing.assert_close(gradients[0], gradients[1] + other.encoder.norm.weight.grad)


def test_more_damaged_loops_than_borne_end_the_run_by_name(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = loops_of(config.data)
    monkeypatch.setattr(Run, "look", lambda self: {})
    monkeypatch.setattr(
        pretrain_module,
        "make_monitors",
        lambda *_: (Monitor(torch.zeros(1, 3, 1, 1, 1), [], [], config.spec), None),
    )
    damage(monkeypatch, set(list(loops)[::3]))
    run = replace(config, out=tmp_path, batch_size=8, faults=FaultConfig(max_damaged=2))
    with pytest.raises(FaultError, match=r"could not be read, more than faults\.max_damaged 2") as told:
        pretrain(run, quiet)
    assert any(loop in str(told.value) for loop in loops.values())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_goes_away_ends_the_run_with_a_sentence(
    config: PretrainConfig, tmp_path: Path, workers: int
) -> None:
    data = shutil.copytree(config.data, tmp_path / "data")

    def unplug(done: int, total: int, note: str) -> None:
        if done == 2:
            shutil.rmtree(data)

    run = replace(config, data=data, out=tmp_path / "run", workers=workers)
    with pytest.raises(FaultError, match="check that the data set is present and complete"):
        pretrain(run, unplug)
