"""Claims about several processes: they are the same run as one, in both ways of sharing the model."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import elastic_launch

from echojepa import cli
from echojepa.config import ConfigError, InputSpec, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.files.records import encode
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.training import rotation
from echojepa.training.distributed import LostRankError, World
from echojepa.training.journal import read_lines
from echojepa.training.loader import Steps, check_share
from echojepa.training.pretrain import pretrain, training_loops
from echojepa.training.step import TrainStep

Parallel = Literal["replicate", "shard"]
HANGS = 600
"""Seconds after which a process is taken to hang: far more than any needs on a machine that is shared."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def as_rank(
    rank: int, ranks: int, port: int, work: Callable[[PretrainConfig, int], None], config: PretrainConfig
) -> None:
    """What torchrun's environment says to one of its processes."""
    torch.set_num_threads(1)
    where = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": ranks,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in where.items()})
    work(config, rank)


def train(config: PretrainConfig, rank: int) -> None:
    pretrain(config, quiet)


def train_half(config: PretrainConfig, rank: int) -> None:
    """To the middle of the run, where the power fails."""

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    pretrain(config, stop)


def together(
    processes: ForkServerContext,
    ranks: int,
    work: Callable[[PretrainConfig, int], None],
    config: PretrainConfig,
) -> list[int | None]:
    """Run ranks to their ends; their exit codes."""
    port = free_port()
    children = [processes.Process(target=as_rank, args=(r, ranks, port, work, config)) for r in range(ranks)]
    for child in children:
        child.start()
    for child in children:
        child.join(HANGS)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    return codes


@pytest.fixture(scope="module")
def config(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """In float32: in bf16, which some CPUs have, sums in another order differ by far more."""
    recipe = replace(smoke(dataset, tmp_path_factory.mktemp("alone")), precision="float32")
    return replace(
        recipe, spec=InputSpec(64, 2, 0.4), batch_size=4, steps=4, checkpoint_every=2, monitor_every=9
    )


@pytest.fixture(scope="module")
def alone(config: PretrainConfig) -> Path:
    pretrain(config, quiet)
    return config.out


def assert_close_run(one: Path, other: Path) -> None:
    """Weights, moments, EMA and metrics, to what the order of sums in float32 leaves."""
    states = [rotation.read(rotation.checkpoints(run)[0], "") for run in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=2e-3, atol=2e-5, msg=name)
    logs = [read_lines(run / "metrics.jsonl") for run in (one, other)]
    for line, same in zip(*logs, strict=True):
        assert line["loss"] == pytest.approx(same["loss"], rel=1e-5)
        assert line["gradient"] == pytest.approx(same["gradient"], rel=1e-4)
        exact = ("step", "lr", "momentum", "redraws", "flops")
        assert [line[name] for name in exact] == [same[name] for name in exact]


@pytest.mark.parametrize("parallel", ["replicate", pytest.param("shard", marks=pytest.mark.slow)])
def test_two_processes_are_the_run_of_one(
    config: PretrainConfig,
    alone: Path,
    tmp_path: Path,
    processes: ForkServerContext,
    parallel: Parallel,
) -> None:
    run = replace(config, out=tmp_path / "run", parallel=parallel)
    assert together(processes, 2, train, run) == [0, 0]
    assert_close_run(alone, run.out)
    assert (run.out / "encoder.json").is_file()


@pytest.mark.parametrize(
    ("parallel", "ranks"),
    [
        pytest.param("shard", 1, marks=pytest.mark.slow),
        pytest.param("shard", 4, marks=pytest.mark.slow),
        pytest.param("replicate", 1, marks=pytest.mark.slow),
        pytest.param("replicate", 4, marks=pytest.mark.slow),
    ],
)
def test_a_run_saved_on_two_ranks_goes_on_with_another_number(
    config: PretrainConfig,
    alone: Path,
    tmp_path: Path,
    processes: ForkServerContext,
    parallel: Parallel,
    ranks: int,
) -> None:
    """Half of it is made by two, and the other half by so many: all of it is the run of one."""
    run = replace(config, out=tmp_path / "run", parallel=parallel)
    codes = together(processes, 2, train_half, run)
    assert codes[0] == -signal.SIGKILL and codes[1] not in (0, None)
    assert rotation.find(run.out).facts.step == 2
    assert together(processes, ranks, train, run) == [0] * ranks
    assert_close_run(alone, run.out)


def test_a_run_of_one_goes_on_with_two_that_share_the_model_and_then_with_one(
    config: PretrainConfig, alone: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    """Rank 0 is killed among the two, and the other one does not hang."""
    run = replace(config, out=tmp_path / "run", parallel="shard", checkpoint_every=1)

    def stop(done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(run, stop)
    assert rotation.find(run.out).facts.step == 1
    codes = together(processes, 2, train_half, run)
    assert codes[0] == -signal.SIGKILL and codes[1] not in (0, None)
    assert rotation.find(run.out).facts.step == 2
    pretrain(run, quiet)
    assert_close_run(alone, run.out)


def test_microbatches_are_the_run_of_whole_batches(
    config: PretrainConfig, alone: Path, tmp_path: Path
) -> None:
    pretrain(replace(config, out=tmp_path, microbatch=3), quiet)
    assert_close_run(alone, tmp_path)


def test_recomputing_blocks_changes_nothing(config: PretrainConfig, alone: Path, tmp_path: Path) -> None:
    pretrain(replace(config, out=tmp_path, recompute=True), quiet)
    assert_close_run(alone, tmp_path)


def test_ranks_share_a_step_without_overlap_and_masks_have_one_length(config: PretrainConfig) -> None:
    store, device = LoopStore.open(config.data), torch.device("cpu")
    rows = training_loops(store, InputSpec())["row"].to_numpy()
    whole = Steps(store, rows, config, World(0, 1, device))[3]
    parts = [Steps(store, rows, config, World(rank, 2, device))[3] for rank in range(2)]
    assert torch.equal(torch.cat([part.clips for part in parts]), whole.clips)
    for number, mask in enumerate(whole.masks):
        assert torch.equal(torch.cat([part.masks[number].context_ids for part in parts]), mask.context_ids)
    with pytest.raises(ConfigError, match="must be a multiple of the 3 processes"):
        check_share(config, World(0, 3, device))


def die_in_a_step(config: PretrainConfig, rank: int) -> None:
    """Rank 1 is gone in the middle of a step, without a word."""

    def step(done: int, total: int, note: str) -> None:
        """Rank 0 goes on."""

    if rank == 1:
        TrainStep.__call__ = lambda *_: os._exit(7)
    try:
        pretrain(config, step)
    except LostRankError:
        os._exit(3)


def test_a_rank_that_dies_does_not_leave_the_others_hanging(
    config: PretrainConfig, tmp_path: Path, processes: ForkServerContext
) -> None:
    assert together(processes, 2, die_in_a_step, replace(config, out=tmp_path / "run")) == [3, 7]


def one_rank_breaks(record: str) -> None:
    """The command in a process that torchrun started; the second one's step fails."""

    def broken(self: TrainStep, batch: object, step: int) -> None:
        raise UserError("this rank's own trouble")

    if os.environ["RANK"] == "1":
        TrainStep.__call__ = broken
    sys.exit(cli.main(["pretrain", record]))


def test_torchrun_ends_the_job_with_the_failed_ranks_own_error(
    config: PretrainConfig, tmp_path: Path, processes: ForkServerContext
) -> None:
    """torchrun's own work is in this process; its ranks are born with all that training needs."""
    logs = ["--redirects", "2", "--log-dir", str(tmp_path / "logs")]
    where = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    launched, _, _ = torchrun.config_from_args(torchrun.parse_args([*where, *logs, "of no use here"]))
    launched.start_method = processes.get_start_method()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with pytest.raises(ChildFailedError, match="exitcode"):
        elastic_launch(launched, one_rank_breaks)(str(alone_record(config, tmp_path)))
    for number, handler in handlers.items():
        if handler != signal.getsignal(number):
            signal.signal(number, handler)
    (said,) = tmp_path.glob("logs/**/1/stderr.log")
    assert "this rank's own trouble" in said.read_text()


def alone_record(config: PretrainConfig, folder: Path) -> Path:
    """The config as the file that the command line takes."""
    record = folder / "config.json"
    record.write_text(encode(replace(config, out=folder / "run")))
    return record
