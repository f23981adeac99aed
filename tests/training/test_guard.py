"""Claims about sudden drops and budgets: when a run is stopped, sent back, or has had enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from echojepa.config import ConfigError, FaultConfig, InputSpec, PretrainConfig
from echojepa.models.building import build_objective
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.training import rotation
from echojepa.training.guard import CollapseError, sudden_drop
from echojepa.training.journal import read_lines
from echojepa.training.monitors import monitored_loops, patient_retrieval
from echojepa.training.pretrain import Run, planned_steps, pretrain
from echojepa.weights.folder import load_card

FAULTS = FaultConfig(window=10)


def log(losses: list[float]) -> list[dict[str, Any]]:
    return [{"step": step, "loss": loss} for step, loss in enumerate(losses)]


def test_the_published_collapse_is_caught_and_the_published_healthy_course_is_not() -> None:
    """V-JEPA 2.1 on echo fell from 0.62 to 0.45 in an epoch; EchoJEPA-L's loss falls, then rises slowly."""
    collapse = log([0.62] * 30 + [0.45] * 10)
    assert "fell from 0.620 to 0.450" in sudden_drop(collapse, FAULTS, 0, targets_move=True)
    healthy = [0.8 - 0.0015 * i for i in range(200)] + [0.5 + 0.0003 * i for i in range(300)]
    for end in range(1, 501):
        assert not sudden_drop(log(healthy[:end]), FAULTS, 0, targets_move=True)


def test_a_young_loss_and_a_loss_of_pixels_may_fall() -> None:
    fall = log([1.0] * 20 + [0.3] * 10)
    assert sudden_drop(fall, FAULTS, 0, targets_move=True)
    assert not sudden_drop(fall, FAULTS, 15, targets_move=True)
    assert not sudden_drop(fall, FAULTS, 0, targets_move=False)


def test_a_rank_that_falls_between_two_looks_is_caught_whatever_the_objective() -> None:
    lines = log([0.5] * 25)
    lines[0]["effective_rank"], lines[24]["effective_rank"] = 60.0, 20.0
    assert "from 60.0 to 20.0" in sudden_drop(lines, FAULTS, 0, targets_move=False)
    lines[24]["effective_rank"] = 30.0
    assert not sudden_drop(lines, FAULTS, 0, targets_move=False)


@pytest.fixture(scope="module")
def config(dataset: Path) -> PretrainConfig:
    recipe = smoke(dataset, Path("set by each test"))
    return replace(
        recipe, spec=InputSpec(64, 2, 0.4), batch_size=2, steps=8, checkpoint_every=2, monitor_every=3
    )


def collapsing(monkeypatch: pytest.MonkeyPatch, branches: set[int], at: int = 6) -> None:
    """The effective rank falls at a step on some branches of a run."""

    def look(self: Run) -> dict[str, Any]:
        fallen = self.facts.step >= at and self.facts.branch in branches
        return {
            "effective_rank": 5.0 if fallen else 50.0,
            "spread": 1.0,
            "cosine": 0.1,
            "target_variance": 1.0,
        }

    monkeypatch.setattr(Run, "look", look)


def test_a_sudden_drop_stops_the_run_and_the_reason_is_in_its_folder(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsing(monkeypatch, {0})
    with pytest.raises(CollapseError, match=r"from 50\.0 to 5\.0.*rollback, or warn"):
        pretrain(replace(config, out=tmp_path), quiet)
    assert [(e["step"], e["event"]) for e in read_lines(tmp_path / "events.jsonl")] == [(6, "stopped")]
    assert not (tmp_path / "encoder.json").exists()
    pretrain(replace(config, out=tmp_path, faults=FaultConfig(on_collapse="warn")), quiet)
    assert read_lines(tmp_path / "events.jsonl")[-1]["event"] == "warned"
    assert load_card(tmp_path).origin.steps == 8


def test_a_sudden_drop_rolls_the_run_back_and_it_draws_anew(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsing(monkeypatch, {0})
    run = replace(config, out=tmp_path, faults=FaultConfig(on_collapse="rollback"))
    steps: list[int] = []
    pretrain(run, lambda done, total, note: steps.append(done))
    assert steps == [*range(1, 8), *range(5, 9)]  # the drop is seen at step 6, the checkpoint before is of 4
    (event,) = read_lines(tmp_path / "events.jsonl")
    assert event["event"] == "rolled back" and "went back to step 4" in event["reason"]
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(8))
    assert rotation.find(tmp_path).facts.branch == 1
    collapsing(monkeypatch, set())
    plain = replace(config, out=tmp_path / "plain")
    pretrain(plain, quiet)
    other = read_lines(plain.out / "metrics.jsonl")
    assert [line["loss"] for line in lines[:4]] == [line["loss"] for line in other[:4]]
    assert all(one["loss"] != two["loss"] for one, two in zip(lines[4:], other[4:], strict=True))


def test_rollbacks_have_an_end(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsing(monkeypatch, {0, 1, 2, 3})
    faults = FaultConfig(on_collapse="rollback", max_rollbacks=1)
    with pytest.raises(CollapseError, match="after 1 rollbacks"):
        pretrain(replace(config, out=tmp_path, faults=faults), quiet)
    assert [e["event"] for e in read_lines(tmp_path / "events.jsonl")] == ["rolled back", "stopped"]


def test_a_run_stops_at_its_budget_of_clips_or_of_arithmetic(config: PretrainConfig, tmp_path: Path) -> None:
    by_clips = pretrain(replace(config, out=tmp_path / "clips", max_clips=7), quiet)
    assert (by_clips.steps, by_clips.clips) == (3, 6)
    spent = [line["flops"] for line in read_lines(tmp_path / "clips" / "metrics.jsonl")]
    assert by_clips.flops == sum(spent)
    budget = 4.5 * by_clips.flops / 3
    by_flops = pretrain(replace(config, out=tmp_path / "flops", max_flops=budget), quiet)
    assert budget - 2 * max(spent) < by_flops.flops <= budget
    origin = load_card(tmp_path / "flops").origin
    assert (origin.flops, origin.clips) == (by_flops.flops, by_flops.clips)


def test_the_schedule_is_laid_out_over_the_smallest_budget(config: PretrainConfig) -> None:
    with torch.device("meta"):
        model = build_objective(config)
    assert planned_steps(model, config) == 8
    assert planned_steps(model, replace(config, max_clips=12)) == 6
    one = 1e13 / planned_steps(model, replace(config, steps=10**6, max_flops=1e13))
    assert planned_steps(model, replace(config, max_clips=12, max_flops=4.5 * one)) == 4
    with pytest.raises(ConfigError, match="less than one step of 2 clips"):
        planned_steps(model, replace(config, max_clips=1))


def test_retrieval_finds_patients_and_is_chance_in_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    patients = [str(i // 2) for i in range(60)]
    noise = torch.randn(60, 5, 16, generator=generator) + 100 * torch.randn(5, 16, generator=generator)
    signal = torch.randn(30, 1, 16, generator=generator).repeat_interleave(2, dim=0)
    assert patient_retrieval(noise + 5 * signal, patients) > 0.95
    assert patient_retrieval(noise, patients) < 0.2
    assert patient_retrieval(noise + 5 * signal, [str(i) for i in range(60)]) != 0  # NaN: nothing to be asked


def test_the_monitor_looks_at_pairs_of_a_patient() -> None:
    patients = ["a", "b", "a", "c", "a", "b", "d", "d"]
    assert monitored_loops(patients, 4) == [0, 2, 6, 7]
    assert monitored_loops(patients, 96) == [0, 1, 2, 5, 6, 7]
    assert len(monitored_loops(["a", "b", "c"], 96)) == 3
