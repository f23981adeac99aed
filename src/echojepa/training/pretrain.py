"""Pretraining as one function: build, resume, loop, save."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import torch

from echojepa.config import ConfigError, InputSpec, PretrainConfig
from echojepa.data.clips.scale import scaled_rows
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.records import write_record
from echojepa.models.building import build_encoder, build_objective
from echojepa.models.masking import sample_mask
from echojepa.models.objective import Objective
from echojepa.processes.allocator import keep_pages
from echojepa.progress import Progress, quiet
from echojepa.randomness import derive_seed
from echojepa.training import rotation
from echojepa.training.building import build_optimizer, training_tensors
from echojepa.training.distributed import World, distribute, joined, whole_state
from echojepa.training.guard import CollapseError, FaultError, check_counts, sudden_drop
from echojepa.training.hardware import computed_on, went_on, working_dtype
from echojepa.training.journal import Journal, open_run
from echojepa.training.labels import read_row_labels
from echojepa.training.loader import OWN_PICTURES, Batch, Steps, check_share, load_steps, run_pictures
from echojepa.training.rotation import Facts
from echojepa.training.start import take_weights
from echojepa.training.step import TrainStep
from echojepa.training.validation import make_validation
from echojepa.training.watching import make_monitors
from echojepa.vocabulary import Kind, Split
from echojepa.weights.folder import Origin, Weights, save_weights

PLANNING_DRAWS = 64
"""Steps whose masks are drawn to know the mean arithmetic of one."""
BEST, READINGS = "best", 20
"""Folder of the encoder that reads best on validation patients, and how often it is asked for in a run."""


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was."""

    steps: int
    clips: int
    loops: int
    flops: float
    loss: float
    warnings: tuple[str, ...]


def training_loops(store: LoopStore, spec: InputSpec) -> pa.Table:
    """Row and patient's ordinal of training patients' cine loops: test patients stay new to the encoder.
    Where it is fed by mm, of those that state their scale."""
    rows = partial(store.rows_where, split=Split.TRAIN, kind=Kind.CINE)
    return scaled_rows(rows, ["patient_ordinal"], spec)


def planned_steps(model: Objective, config: PretrainConfig) -> int:
    """Steps that fit into every budget; the arithmetic of one is the mean over drawn masks.

    Raises ConfigError where not even one fits.
    """
    steps = [config.steps]
    if config.max_clips is not None:
        steps.append(config.max_clips // config.batch_size)
    if config.max_flops is not None:
        draws = torch.Generator().manual_seed(derive_seed(config.seed, "budget"))
        grid, spent = model.encoder.grid, 0
        for _ in range(PLANNING_DRAWS):
            masks = [sample_mask(mask, grid, config.batch_size, draws) for mask in config.masks]
            spent += model.flops(masks) * config.batch_size
        steps.append(int(config.max_flops / (spent / PLANNING_DRAWS)))
    if min(steps) < 1:
        raise ConfigError(
            f"max_clips {config.max_clips} or max_flops {config.max_flops} is less than one step of "
            f"{config.batch_size} clips needs; raise it or lower batch_size"
        )
    return min(steps)


class Run:
    """A run in progress: what is in memory, and its folder."""

    def __init__(self, config: PretrainConfig, store: LoopStore, table: pa.Table, world: World) -> None:
        self.config, self.store, self.world = config, store, world
        self.rows = table["row"].to_numpy()
        self.monitor, self.foresight = make_monitors(store, table, config, world)
        self.model = build_objective(config).to(world.device)
        self.steps = planned_steps(self.model, config)
        self.dtype = working_dtype(config.precision, world.device)
        self.here = computed_on(world.device, self.dtype)
        self.journal = Journal(config.out, world.first)
        self.facts = Facts(0)
        self.reader = make_validation(store, config, world.device)
        self.pictures = run_pictures(store, self.rows, config, world, self.steps * config.batch_size)
        self.labels = read_row_labels(store, self.rows, config)

    def begin(self) -> None:
        """Resume from the newest whole checkpoint, or take the weights to start from; `events.jsonl` says
        which checkpoints were damaged. The model is cut up for the ranks."""
        found = rotation.find(self.config.out) if self.world.first else None
        found = next(found for found in self.world.gather(found) if found)
        if not found.path:
            take_weights(self.model, self.config)
        runner = distribute(self.model, self.config.parallel, self.world, self.dtype)
        self.optimizer = build_optimizer(self.model, self.config)
        self.train_step = TrainStep(
            self.config, self.world, self.model, runner, self.optimizer, self.dtype, self.steps
        )
        self.resume(found)

    def resume(self, found: rotation.NewestCheckpoint) -> None:
        """Go back to a checkpoint, or to the beginning where there is none."""
        for sentence in found.damaged:
            self.journal.event(found.facts.step, "damaged checkpoint", f"{sentence}; the one before is used")
        if found.path:
            rotation.load(found.path, training_tensors(self.model, self.optimizer))
        self.facts = self.saved = found.facts
        self.journal.cut(self.facts.step)
        self.monitor.recall(self.journal.lines)

    def save(self, facts: Facts) -> None:
        """Write a checkpoint, unless it is there."""
        if facts == self.saved:
            return
        self.saved = facts
        self.journal.settle()
        rotation.save(self.config.out, facts, training_tensors(self.model, self.optimizer), self.world)

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """The steps that are left, each with this rank's share."""
        steps = Steps(
            self.store, self.rows, self.config, self.world, self.facts.branch, self.pictures, self.labels
        )
        loader = load_steps(steps, self.facts.step, self.steps)
        yield from enumerate(loader, start=self.facts.step)

    def look(self) -> dict[str, Any]:
        """What the monitor measures now."""
        device = self.world.device
        seen = self.monitor.look(self.model.result, lambda: build_encoder(self.config).to(device))
        foresight = self.foresight(self.model)
        return seen | ({"foresight": asdict(foresight)} if foresight else {})

    def validate(self, step: int) -> dict[str, Any]:
        """What the encoder reads on validation patients after so many steps, where the config asks for it;
        the best so far is kept in `best/`, with what it reads."""
        if self.reader is None:
            return {}
        reading = self.reader(self.model.result)
        earlier = [line["validation"]["score"] for line in self.journal.lines if "validation" in line]
        if reading.score < min(earlier, default=math.inf):
            weights = self.weights(step)
            if self.world.first:
                save_weights(self.config.out / BEST, weights)
                write_record(self.config.out / BEST / "validation.json", {"step": step, **asdict(reading)})
        return {"validation": asdict(reading)}

    def weights(self, steps: int) -> Weights:
        """The encoder after so many steps, and where it comes from; a collective where it is sharded."""
        config, clips = self.config, steps * self.config.batch_size
        data, facts = self.store.fingerprint(), self.facts
        origin = Origin(config.objective, steps, clips, data, facts.flops, facts.computed_on)
        return Weights(config.architecture, config.spec, whole_state(self.model.result), origin)

    def damage(self, batch: Batch) -> dict[str, str]:
        """Loops of a step, all ranks' shares, that could not be read, with the kind of error; FaultError
        where a rank has no clip left."""
        parts = self.world.gather((batch.damaged, len(batch.clips)))
        named = dict(pair for damaged, _ in parts for pair in damaged)
        if not all(clips for _, clips in parts):
            raise FaultError(
                f"no clip in the share of a process could be read ({next(iter(named.values()))}); check "
                "that the data set is present and complete, then start again: the run resumes from its "
                "last checkpoint"
            )
        return dict(zip(self.store.loop_ids([*named]), named.values(), strict=True)) if named else {}

    def step(self, step: int, batch: Batch, waited: float) -> None:
        """One step, its line in the log, and a checkpoint where one is due."""
        began = time.perf_counter()
        line: dict[str, Any] = {"step": step}
        damaged = self.damage(batch)
        if damaged:
            line["damaged"] = damaged
        if step % self.config.monitor_every == 0:
            line |= self.look()
        if step % max(1, self.steps // READINGS) == 0:
            line |= self.validate(step)
        line |= self.train_step(batch.to(self.world.device), step)
        seconds = {"seconds": round(time.perf_counter() - began, 4), "waited": round(waited, 4)}
        self.journal.step(line | seconds)
        flops, where = self.facts.flops + line["flops"], went_on(self.facts.computed_on, self.here)
        self.facts = replace(self.facts, step=step + 1, flops=flops, computed_on=where)

    def bear_faults(self) -> None:
        """FaultError, said in `events.jsonl` first, once more was lost than the settings bear."""
        try:
            check_counts(self.journal.lines, self.config.faults, self.config.optim.lr)
        except FaultError as error:
            self.journal.event(self.facts.step - 1, "stopped", str(error))
            raise

    def collapse(self) -> str:
        """Why the newest step calls for a rollback, "" where the run goes on.

        Raises CollapseError where the settings stop the run at a sudden drop, or it cannot go back again.
        """
        faults, step = self.config.faults, self.facts.step - 1
        settled = round(self.config.optim.warmup * self.steps) + faults.window
        drop = sudden_drop(self.journal.lines, faults, settled, self.model.targets_move)
        if drop and faults.on_collapse == "warn":
            self.journal.event(step, "warned", drop)
            return ""
        again = self.facts.branch < faults.max_rollbacks and rotation.checkpoints(self.config.out)
        if drop and not (faults.on_collapse == "rollback" and again):
            reason = f"{drop}; after {self.facts.branch} rollbacks the run was stopped at step {step}"
            self.journal.event(step, "stopped", reason)
            raise CollapseError(
                f"{reason}. Lower optim.lr or raise optim.ema_start in another run; or continue this run "
                "with --faults.on-collapse rollback, or warn"
            )
        return drop

    def roll_back(self, reason: str) -> None:
        """Go back to the oldest checkpoint kept, with new draws, and make it the newest."""
        failed, path = self.facts, rotation.checkpoints(self.config.out)[-1]
        self.world.barrier()
        self.resume(rotation.NewestCheckpoint(path, rotation.read_facts(path)))
        self.journal.event(failed.step - 1, "rolled back", f"{reason}; went back to step {self.facts.step}")
        self.facts = replace(self.facts, branch=failed.branch + 1)
        self.save(self.facts)
        rotation.forget_after(self.config.out, self.facts.step, self.world)

    def finish(self) -> PretrainSummary:
        """Write the encoder and say what the run was."""
        model, config, facts = self.model, self.config, self.facts
        self.validate(facts.step)
        weights = self.weights(facts.step)
        if predictor := model.predictor:
            weights = replace(weights, predictor_shape=predictor.shape, predictor=whole_state(predictor))
        if self.world.first:
            save_weights(config.out, weights)
            if config.pictures is None:
                shutil.rmtree(config.out / OWN_PICTURES, ignore_errors=True)
        lines = self.journal.lines
        warnings = dict.fromkeys(w for line in lines for w in line.get("warnings", ()))
        loss = next((line["loss"] for line in reversed(lines) if line["loss"] is not None), math.nan)
        clips = facts.step * config.batch_size
        return PretrainSummary(facts.step, clips, len(self.rows), facts.flops, loss, tuple(warnings))


def pretrain(config: PretrainConfig, progress: Progress = quiet) -> PretrainSummary:
    """Run or resume pretraining; calls progress(steps done, steps, state in words) on the first rank.

    Raises ConfigError for a folder of another run or a data set without training loops, CheckpointError where
    `config.start` does not fit, CollapseError and FaultError as the config's faults say, LostRankError.
    """
    with joined() as world:
        check_share(config, world)
        if world.device.type == "cpu":
            keep_pages()
        store = LoopStore.open(config.data)
        table = training_loops(store, config.spec)
        if len(table) < 3:
            raise ConfigError(f"{config.data} has {len(table)} training cine loops; at least 3 are needed")
        if world.first:
            open_run(config, store.fingerprint(), begun=bool(rotation.checkpoints(config.out)))
        world.barrier()
        run = Run(config, store, table, world)
        run.begin()
        while reason := train(run, progress):
            run.roll_back(reason)
        return run.finish()


def train(run: Run, progress: Progress) -> str:
    """Step until the run is at its end, ""; or to a sudden drop that calls for a rollback, and why."""
    asked, budget = time.perf_counter(), run.config.max_flops
    for step, batch in run.batches():
        flops = run.model.flops(batch.masks) * run.config.batch_size
        if budget is not None and run.facts.flops + flops > budget:
            break
        run.step(step, batch, time.perf_counter() - asked)
        if run.world.first:
            progress(step + 1, run.steps, f"loss {run.journal.lines[-1]['loss'] or float('nan'):.3f}")
        run.bear_faults()
        if reason := run.collapse():
            return reason
        if run.facts.step % run.config.checkpoint_every == 0:
            run.save(run.facts)
        asked = time.perf_counter()
    run.save(run.facts)
    return ""
