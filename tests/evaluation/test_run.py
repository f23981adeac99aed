"""A plan's run on a small data set, with a backbone that counts its passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.config import ConfigError, InputSpec, PlanConfig
from echojepa.data.identity.splits import LeakageError
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.features import backbones as backbones_module
from echojepa.evaluation.features.cache import CacheError, weights_digest
from echojepa.evaluation.features.extraction import Extraction, ShownClips
from echojepa.evaluation.probes import heads as heads_module
from echojepa.evaluation.probes.stored import read_predictions
from echojepa.evaluation.protocol.cells import Presentation
from echojepa.evaluation.protocol.cohort import read_cohort, share_of_patients
from echojepa.evaluation.protocol.plans import PLANS, Cell, Condition, Plan, PlanBlock, Sites
from echojepa.evaluation.protocol.samples import task_samples, training_samples
from echojepa.evaluation.results import ResultRow, count_probes, read_results
from echojepa.evaluation.run import PlanRun
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.models.contract import TokenGrid, prepare
from echojepa.processes.workers import Limits
from echojepa.progress import quiet
from echojepa.tasks import LVEF, LVEF_BY_LOOP, VIEW, Task, find_task
from echojepa.vocabulary import Split, View
from echojepa.weights.tensors import CheckpointError

SPEC = InputSpec(size=32, frames=4, seconds=0.2)
PLAN = Plan("small", (PlanBlock((LVEF, VIEW), ("linear", "ridge")),))


def rows_of(rows: Sequence[ResultRow]) -> list[str]:
    """Rows as text, in which nan is nan."""
    return [str(row) for row in rows]


class Counting(Backbone):
    """PlanBlock means of the pixels behind a fixed random mixture; counts the clips that it sees."""

    seen = 0
    random = True

    def __init__(self, name: str = "pixels", seed: int = 0) -> None:
        layer = nn.Linear(2 * 8 * 8 * 3, 16)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed)))
            layer.bias.zero_()
        super().__init__(name, layer, SPEC, 16)

    def features(self, pixels: Tensor) -> TokenGrid:
        Counting.seen += len(pixels)
        cut = pixels.unflatten(4, (4, 8)).unflatten(3, (4, 8)).unflatten(2, (2, 2))
        tokens = cut.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4).flatten(1, 3)
        return TokenGrid(self.network(tokens), (2, 4, 4))


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pixels` and `others` are backbones by name, without a random start of their own."""
    known = {"pixels": lambda: Counting(), "others": lambda: Counting("others", 1)}
    monkeypatch.setattr(backbones_module, "load_backbone", lambda name, **settings: known[name]())
    Counting.seen = 0


def settings(dataset: Path, out: Path, **others: object) -> PlanConfig:
    base = PlanConfig(
        data=(dataset,), out=out, backbones=("pixels",), epochs=2, min_steps=1, resamples=20,
        learning_rates=(1e-3,), weight_decays=(0.01,), workers=1,
    )  # fmt: skip
    return replace(base, **others)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def two_sites(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patients of the small data set, every other one at a second site."""
    root = tmp_path_factory.mktemp("sites") / "dataset"
    shutil.copytree(dataset, root)
    store = LoopStore.open(root)
    patients = sorted(set(store.metadata(["patient_id"])["patient_id"].to_pylist()))
    by_split: dict[str, list[str]] = {}
    for row in store.metadata(["patient_id", "split"]).to_pylist():
        by_split.setdefault(row["split"], [])
        if row["patient_id"] not in by_split[row["split"]]:
            by_split[row["split"]].append(row["patient_id"])
    moved = [patient for names in by_split.values() for patient in sorted(names)[::3]]
    assert len(patients) > len(moved) > 3
    listed = ", ".join(f"'{patient}'" for patient in moved)
    store.table.update({"site": "'north'"}, where=f"patient_id in ({listed})")
    return root


def test_a_second_run_makes_no_encoder_pass_and_the_same_table(dataset: Path, tmp_path: Path) -> None:
    config = settings(dataset, tmp_path)
    first = PlanRun(PLAN, config).run(quiet)
    loops = len(read_cohort([dataset]).loops)
    assert loops <= Counting.seen <= loops + 1, "every loop once, and one black clip for the size"
    Counting.seen = 0
    trained = sorted(tmp_path.glob("probes/*/*/*/probe.json"))
    stamps = [file.stat().st_mtime_ns for file in trained]
    again = PlanRun(PLAN, config).run(quiet)
    assert Counting.seen == 0 and rows_of(again) == rows_of(first)
    assert [file.stat().st_mtime_ns for file in trained] == stamps
    fresh = PlanRun(PLAN, replace(config, out=tmp_path / "fresh", cache=tmp_path / "features")).run(quiet)
    assert Counting.seen == 0 and rows_of(fresh) == rows_of(first), "the same features give the same table"


def test_backbones_that_are_fed_alike_share_each_reading(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And have the numbers that each has alone."""
    read: list[tuple[int, int]] = []
    clip_of = ShownClips.__getitem__

    def counted(clips: ShownClips, item: int) -> tuple[Tensor, int]:
        read.append(clips.clips[item])
        return clip_of(clips, item)

    monkeypatch.setattr(ShownClips, "__getitem__", counted)
    both = PlanRun(PLAN, settings(dataset, tmp_path / "both", backbones=("pixels", "others"))).run(quiet)
    assert len(read) == len(set(read)) == len(read_cohort([dataset]).loops)
    alone = PlanRun(PLAN, settings(dataset, tmp_path / "alone", backbones=("others",))).run(quiet)
    mine = [row for row in rows_of(both) if row in rows_of(alone)]
    assert len(mine) == len(alone) > 0, [row for row in rows_of(alone) if row not in mine]


def test_probes_trained_at_once_are_those_trained_in_turn(dataset: Path, tmp_path: Path) -> None:
    config = settings(dataset, tmp_path / "turn", backbones=("pixels", "others"))
    in_turn = PlanRun(PLAN, config).run(quiet)
    notes: list[str] = []
    at_once = PlanRun(PLAN, replace(config, out=tmp_path / "once", cache=config.out / "features", workers=2))
    rows = at_once.run(lambda done, total, note="": notes.append(note))
    assert notes.count("probes trained on 2 processes") == 8, "two backbones, tasks and probes"
    assert [replace(row, value=0, lo=0, hi=0) for row in rows] == [
        replace(row, value=0, lo=0, hi=0) for row in in_turn
    ]
    for name in ("value", "lo", "hi"):
        made, expected = ([getattr(row, name) for row in found] for found in (rows, in_turn))
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-3)


def test_a_process_that_is_ended_while_it_trains_is_told(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "echojepa.evaluation.probes.training.LIMITS", Limits(cpu_seconds=0.05, memory=1 << 40)
    )
    config = settings(dataset, tmp_path, backbones=("pixels", "others"), workers=2, epochs=200)
    with pytest.raises(UserError, match="ended, perhaps for want of memory; take fewer with --workers"):
        PlanRun(PLAN, config).run(quiet)


def test_another_plan_trains_again_only_what_is_new(dataset: Path, tmp_path: Path) -> None:
    config = settings(dataset, tmp_path)
    PlanRun(PLAN, config).run(quiet)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("probes/*/*/*/probe.json")}
    Counting.seen = 0
    PlanRun(Plan("more", (PlanBlock((LVEF,), ("ridge",), perturbations=("gain-low",)),)), config).run(quiet)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    tests = {loop.loop_id for loop in read_cohort([dataset]).loops.values() if loop.split == Split.TEST
             and loop.view in (View.A4C, View.A2C)}  # fmt: skip
    assert 0 <= Counting.seen - 3 * len(tests) <= 1, "three severities of the test loops alone"
    assert len(list(tmp_path.glob("probes/*/*/*/probe.json"))) == len(before)


def test_extraction_goes_on_where_it_was_stopped(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echojepa.evaluation.features.cache.SHARD", 8)
    config = settings(dataset, tmp_path, batch_size=4)

    def stop(done: int, total: int, note: str = "") -> None:
        if "clips" in note and done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PlanRun(PLAN, config).run(stop)
    assert 0 < Counting.seen < len(read_cohort([dataset]).loops)
    Counting.seen = 0
    table = PlanRun(PLAN, config).run(quiet)
    loops = len(read_cohort([dataset]).loops)
    assert Counting.seen <= loops - 16, "two shards were whole"
    whole = PlanRun(PLAN, replace(config, out=tmp_path / "whole")).run(quiet)
    assert rows_of(table) == rows_of(whole)


def test_features_that_do_not_fit_are_refused_before_they_are_made(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"limit is 1e-06 GB.*--cache-gb.*float16"):
        PlanRun(PLAN, settings(dataset, tmp_path, cache_gb=1e-6)).run(quiet)
    assert Counting.seen <= 1 and not list(tmp_path.rglob("*.npy"))


def test_every_row_says_what_it_is_of(dataset: Path, tmp_path: Path) -> None:
    PlanRun(PLAN, settings(dataset, tmp_path)).run(quiet)
    rows = read_results(tmp_path)
    kinds = {(row.backbone, row.task, row.probe) for row in rows}
    assert kinds == {("constant", task, "constant") for task in ("lvef", "view")} | {
        ("pixels", task, probe) for task in ("lvef", "view") for probe in ("linear", "ridge")
    }
    for row in rows:
        assert row.split == "test" and row.patients == 3 and row.items > 0 and row.loops > 0
        if row.backbone == "pixels":
            assert (row.tokens, row.embed_dim, row.parameters) == (32, 16, 16 * 384 + 16)


def test_a_row_says_whether_its_probe_had_converged(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "has_converged", lambda errors, task: task is VIEW)
    rows = PlanRun(PLAN, settings(dataset, tmp_path)).run(quiet)
    assert {(row.task, row.probe) for row in rows if not row.converged} == {("lvef", "linear")}
    assert count_probes(rows) == (4, 1), "ridge is solved, the constant not trained"


def test_features_of_a_loop_are_those_of_its_own_clip(dataset: Path, tmp_path: Path) -> None:
    """A shuffled id would give a loop another's features."""
    config = settings(dataset, tmp_path)
    run = PlanRun(PLAN, config)
    run.run(quiet)
    (backbone,) = backbones_module.find_backbones(config.backbones)
    rows = [row for (_, row), _ in run.cohort.loops.items()]
    clips = [(0, rows[number], 0) for number in (7, 3, 11)]
    features = Extraction(run.cohort, backbone, config, run.cache).features(Presentation(1), clips)
    for place, (store, row, number) in enumerate(features.clips.tolist()):
        clip = ShownClips(run.cohort, store, [(row, number)], SPEC, Presentation(1), 0)[0][0]
        expected = Counting()(clip[None]).tokens
        torch.testing.assert_close(
            features.tokens[torch.tensor([place])].float(), expected, atol=1e-2, rtol=1e-2
        )


def test_a_clip_normalised_already_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8"):
        Counting()(prepare(Counting().spec, torch.zeros(1, 3, 4, 32, 32, dtype=torch.uint8)))


def test_backbones_are_fed_uint8(dataset: Path) -> None:
    cohort = read_cohort([dataset])
    for shown in (Presentation(1), Presentation(1, "speckle", 2)):
        assert ShownClips(cohort, 0, [(0, 0)], SPEC, shown, 0)[0][0].dtype == torch.uint8


def test_labels_reach_the_predictions_uncut(dataset: Path, tmp_path: Path) -> None:
    """Labels cut to integers make a task easier than it is."""
    PlanRun(PLAN, settings(dataset, tmp_path)).run(quiet)
    stored = {
        row["study_id"]: row["value"]
        for row in LoopStore.open(dataset).labels().to_pylist()
        if row["label"] == "lvef"
    }
    made, _ = read_predictions(next(tmp_path.glob("probes/lvef/pixels/ridge-*/predictions-*.parquet")))
    truth = dict(zip(made.items.tolist(), made.truth.tolist(), strict=True))
    assert any(value % 1 for value in truth.values())
    for study, value in truth.items():
        assert value == pytest.approx(stored[study], abs=1e-5)


def test_a_leaked_patient_stops_the_evaluation(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "leaky")
    store = LoopStore(tmp_path / "leaky")
    loop = store.metadata(["loop_id", "split"]).to_pylist()
    first = next(row["loop_id"] for row in loop if row["split"] == "train")
    store.table.update({"split": "'test'"}, where=f"loop_id = '{first}'")
    with pytest.raises(LeakageError, match="two splits"):
        PlanRun(PLAN, settings(tmp_path / "leaky", tmp_path / "out"))


def test_no_patient_trains_and_tests(dataset: Path) -> None:
    run = PlanRun(PLANS["view-labels"], settings(dataset, dataset))
    for cell in run.cells:
        mine = run.cell(cell)
        assert not set(mine.samples.patients[mine.trained]) & set(mine.samples.patients[mine.tested])


def test_a_perturbation_is_a_function_of_the_seed_and_the_same_for_every_backbone(dataset: Path) -> None:
    cohort, shown = read_cohort([dataset]), Presentation(1, "shadow-code", 3)
    small, large = replace(SPEC, size=16), SPEC

    def seen(spec: InputSpec, seed: int) -> Tensor:
        return ShownClips(cohort, 0, [(2, 0)], spec, shown, seed)[0][0]

    assert torch.equal(seen(large, 1), seen(large, 1))
    assert not torch.equal(seen(large, 1), seen(large, 2))
    plain = ShownClips(cohort, 0, [(2, 0)], small, Presentation(1), 0)[0][0].float()
    dark = {spec.size: (seen(spec, 1).float().mean((0, 1)), spec) for spec in (small, large)}
    shrunk = torch.nn.functional.avg_pool2d(dark[32][0][None], 2)[0]
    assert (shrunk - dark[16][0]).abs().mean() < 0.15 * plain.mean()


def test_weights_that_are_silently_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files that differ in one number are two backbones, and a file that lacks a tensor is none."""
    one, other = Counting(), Counting()
    assert weights_digest(one) == weights_digest(other)
    with torch.no_grad():
        other.network.weight[0, 0] += 1e-3
    assert weights_digest(one) != weights_digest(other)
    from echojepa.config import Architecture
    from echojepa.models.vit import VisionTransformer
    from echojepa.weights.tensors import build_from

    def build() -> VisionTransformer:
        return VisionTransformer(Architecture("micro", patch=8), InputSpec(64, 4), torch.Generator())

    tensors = dict(build().state_dict())
    del tensors["blocks.1.mlp.fc2.weight"]
    with pytest.raises(CheckpointError, match=r"Missing: \['blocks.1.mlp.fc2.weight'\]"):
        build_from(build, tensors, "a file")


def test_a_site_s_probe_is_tested_on_the_others_as_it_is(two_sites: Path, tmp_path: Path) -> None:
    plan = Plan("sites", (PlanBlock((LVEF,), ("ridge",), "sites"),))
    PlanRun(plan, settings(two_sites, tmp_path)).run(quiet)
    rows = {(r.trained_on, r.site) for r in read_results(tmp_path) if r.backbone == "pixels"}
    assert rows == {("site", "site"), ("site", "north"), ("north", "north")}
    assert len(list(tmp_path.glob("probes/lvef/pixels/*/probe.json"))) == 2, (
        "the external test refits nothing"
    )
    with pytest.raises(ConfigError, match="at least two"):
        PlanRun(plan, settings(two_sites, tmp_path, sites=("north",)))
    with pytest.raises(ConfigError, match="unknown sites"):
        PlanRun(plan, settings(two_sites, tmp_path, sites=("south",)))


def test_transfer_tests_the_adults_probe_on_children_and_trains_one_on_children(
    two_sites: Path, tmp_path: Path
) -> None:
    PlanRun(PLANS["transfer"], settings(two_sites, tmp_path, children="north")).run(quiet)
    rows = {(r.trained_on, r.site) for r in read_results(tmp_path) if r.probe == "ridge"}
    assert rows == {("site", "site"), ("site", "north"), ("north", "north")}
    with pytest.raises(ConfigError, match="--children"):
        PlanRun(PLANS["transfer"], settings(two_sites, tmp_path))


def test_children_are_no_part_of_all_sites(two_sites: Path, tmp_path: Path) -> None:
    config = settings(two_sites, tmp_path, children="north")
    run = PlanRun(PLAN, config)
    for mine in (run.cell(cell) for cell in run.cells):
        assert set(mine.samples.sites[mine.trained]) == {"site"}
        assert set(mine.samples.sites[mine.under(Condition())]) == {"site"}
    everybody = PlanRun(PLAN, replace(config, children=""))
    mine = everybody.cell(everybody.cells[0])
    assert set(mine.samples.sites[mine.under(Condition())]) == {"site", "north"}


def test_a_site_without_training_patients_is_tested_and_has_no_probe_of_its_own(
    two_sites: Path, tmp_path: Path
) -> None:
    shutil.copytree(two_sites, tmp_path / "external")
    store = LoopStore.open(tmp_path / "external")
    store.table.delete("site = 'north' and split != 'test'")
    plan = Plan("sites", (PlanBlock((LVEF,), ("ridge",), "sites"),))
    cells = PlanRun(plan, settings(tmp_path / "external", tmp_path)).cells
    assert [(c.trained_on, {d.site for d in c.conditions}) for c in cells] == [("site", {"site", "north"})]
    with pytest.raises(ConfigError, match=r"'north' has no labelled train.*put one of \['site'\]"):
        PlanRun(plan, settings(tmp_path / "external", tmp_path, sites=("north", "site")))


def test_a_smaller_share_of_labels_is_part_of_a_larger_one_and_keeps_classes_in_proportion() -> None:
    patients = np.array([f"p{n}" for n in range(1000)])
    strata = np.where(np.arange(1000) < 100, "rare", "common")
    shares = [share_of_patients(patients, strata, f, 0) for f in (0.01, 0.1, 1.0)]
    assert [len(share) for share in shares] == [10, 100, 1000]
    assert shares[0] < shares[1] < shares[2]
    assert 8 <= sum(int(name[1:]) < 100 for name in shares[1]) <= 12
    assert share_of_patients(patients, strata, 0.1, 1) != shares[1]
    assert share_of_patients(patients[::-1], strata[::-1], 0.1, 0) == shares[1]


def test_a_share_of_labels_is_of_whole_patients_and_of_those_that_choose_too(dataset: Path) -> None:
    cohort = read_cohort([dataset])
    samples = task_samples(cohort, VIEW, 1)
    chosen = training_samples(samples, VIEW, "", 0.1, 0)
    for split, most in (("train", 2), ("val", 2)):
        names = set(samples.patients[chosen & (samples.splits == split)])
        assert len(names) == most
        everything = samples.patients[samples.splits == split]
        assert all((samples.patients[chosen] == name).sum() == (everything == name).sum() for name in names)
    assert not (chosen & (samples.splits == "test")).any()


def test_a_subset_of_test_loops_is_the_same_for_all_and_the_row_says_so(
    dataset: Path, tmp_path: Path
) -> None:
    config = settings(dataset, tmp_path, test_loops=3, backbones=("pixels", "others"))
    PlanRun(PLAN, config).run(quiet)
    rows = [row for row in read_results(tmp_path) if row.backbone != "constant"]
    assert all("a fixed subset: " in row.note and row.patients < 3 for row in rows)
    assert not any(row.note for row in read_results(tmp_path) if row.backbone == "constant")
    files = [
        next(tmp_path.glob(f"probes/lvef/{name}/ridge-*/predictions-*.parquet"))
        for name in ("pixels", "others")
    ]
    ids = [pq.read_table(file, columns=["item_id"])["item_id"].to_pylist() for file in files]
    assert ids[0] == ids[1]


def test_a_task_of_one_s_own_runs(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "size.json"
    file.write_text(
        json.dumps({"name": "half", "label": "lvef", "kind": "regression", "unit": "%", "views": ["PLAX"]})
    )
    task = find_task(str(file))
    PlanRun(Plan("own", (PlanBlock((task,), ("ridge",)),)), settings(dataset, tmp_path)).run(quiet)
    assert {row.task for row in read_results(tmp_path)} == {"half"}
    file.write_text(json.dumps({"name": "half", "label": "lvef", "kind": "regresion"}))
    with pytest.raises(ConfigError, match="kind: 'regresion'"):
        find_task(str(file))
    file.write_text(json.dumps({"name": "half", "labels": "lvef"}))
    with pytest.raises(ConfigError, match=r"unknown entries \['labels'\]"):
        find_task(str(file))


def test_labels_of_another_unit_or_out_of_range_are_refused(dataset: Path) -> None:
    cohort = read_cohort([dataset])
    with pytest.raises(UserError, match="are in %"):
        task_samples(cohort, Task("x", "lvef", "regression", "mL"), 1)
    with pytest.raises(UserError, match=r"lies outside 99\.0 to 100\.0"):
        task_samples(cohort, Task("x", "lvef", "regression", "%", valid_range=(99.0, 100.0)), 1)
    with pytest.raises(UserError, match="is binary"):
        task_samples(cohort, Task("x", "lvef", "binary"), 1)


def test_cells_that_train_the_same_probe_are_one_and_a_plan_s_name_is_no_part_of_them() -> None:
    def sites(task: Task) -> Sites:
        return Sites(("a", "b", "kids"), ("a", "b", "kids"), "kids")

    damage = PlanBlock((LVEF,), ("ridge",), perturbations=("haze",))
    cells = Plan("x", (PlanBlock((LVEF,), ("ridge",)), damage)).cells(sites)
    assert len(cells) == 1 and len(cells[0].conditions) == 4
    assert cells[0].key == Plan("y", (damage,)).cells(sites)[0].key
    whole = PLANS["paper"].cells(sites)
    assert len({cell.key for cell in whole}) == len(whole)


def test_every_subset_of_views_is_a_condition() -> None:
    cells = PLANS["rvsp"].cells(lambda task: Sites(("a",), ("a",)))
    (cell,) = [cell for cell in cells if cell.probe.name == "attentive"]
    assert {condition.views for condition in cell.conditions} == {(), (0,), (1,)}
    assert isinstance(cell, Cell) and Condition("a") in cell.conditions


@pytest.fixture(scope="module")
def several_views(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set with A4C in colour, PSAX-AV in place of PLAX, and RVSP labels."""
    root = tmp_path_factory.mktemp("views") / "dataset"
    shutil.copytree(dataset, root)
    store = LoopStore.open(root)
    store.table.update({"view": "'PSAX-AV'"}, where="view = 'PLAX'")
    store.table.update({"colour": "true"}, where="view = 'A4C'")
    rows = [row for row in store.labels().to_pylist() if row["label"] == "lvef"]
    made = [row | {"label": "rvsp", "value": 15.0 + row["value"] / 2, "unit": "mmHg"} for row in rows]
    store.add_labels(pa.Table.from_pylist(made, schema=store.labels().schema))
    return root


def test_rvsp_is_read_from_all_views_and_from_each_subset(several_views: Path, tmp_path: Path) -> None:
    config = settings(several_views, tmp_path)
    PlanRun(PLANS["rvsp"], config).run(quiet)
    rows = [row for row in read_results(tmp_path) if row.backbone == "pixels" and row.metric == "MAE"]
    assert {row.views for row in rows} == {"A4C + PSAX-AV", "A4C", "PSAX-AV"}
    assert {row.probe for row in rows} == set(PLANS["rvsp"].blocks[0].probes)
    assert all(row.items == row.patients == 3 for row in rows if row.views == "A4C + PSAX-AV")
    clips = {loop.loop_id for loop in read_cohort([several_views]).loops.values() if loop.view != "A2C"}
    assert Counting.seen <= 2 * len(clips) + 1, "two clips of each loop, once"


def validation_patients(dataset: Path) -> np.ndarray:
    samples = task_samples(read_cohort([dataset]), LVEF, 1)
    return np.unique(samples.patients[samples.within(Split.VAL)])


def test_intervals_are_calibrated_by_patients_who_chose_nothing(dataset: Path, tmp_path: Path) -> None:
    names = validation_patients(dataset)
    mixed = next(seed for seed in range(99) if 0 < calibrates(names, seed).sum() < len(names))
    same = next(seed for seed in range(99) if calibrates(names, seed).all())
    block = PlanBlock((LVEF,), ("ridge",), calibrated=True, seeds=(mixed,))
    with pytest.raises(UserError, match="too few validation patients"):
        PlanRun(Plan("few", (replace(block, seeds=(same,)),)), settings(dataset, tmp_path)).run(quiet)
    run = PlanRun(Plan("intervals", (block,)), settings(dataset, tmp_path))
    for cell in run.cells:
        mine = run.cell(cell)
        groups = [
            set(mine.samples.patients[chosen]) for chosen in (mine.trained, mine.calibrating, mine.tested)
        ]
        assert groups[1] and not (groups[0] & groups[1] or groups[1] & groups[2])
    run.run(quiet)
    rows = [row for row in read_results(tmp_path) if row.metric == "coverage of 90 % intervals"]
    assert len(rows) == len(run.cells) and all(0 <= row.value <= 100 for row in rows)


def test_intervals_are_made_by_view_where_each_loop_is_predicted(dataset: Path, tmp_path: Path) -> None:
    names = validation_patients(dataset)
    mixed = next(seed for seed in range(99) if 0 < calibrates(names, seed).sum() < len(names))
    block = PlanBlock((LVEF_BY_LOOP,), ("ridge",), calibrated=True, seeds=(mixed,))
    PlanRun(Plan("intervals", (block,)), settings(dataset, tmp_path)).run(quiet)
    rows = [row for row in read_results(tmp_path) if row.metric == "coverage of 90 % intervals"]
    assert [row.group for row in rows] == ["everybody", "A2C, predicted all", "A4C, predicted all"]


def test_a_perturbation_has_a_row_of_what_it_alone_changed(dataset: Path, tmp_path: Path) -> None:
    plan = Plan("damaged", (PlanBlock((LVEF,), ("ridge",), perturbations=("haze",)),))
    PlanRun(plan, settings(dataset, tmp_path)).run(quiet)
    rows = [row for row in read_results(tmp_path) if row.backbone == "pixels"]
    error = {row.severity: row.value for row in rows
             if row.metric == "MAE" and row.group == "everybody"}  # fmt: skip
    added = {row.severity: row for row in rows if row.metric == "MAE, minus unperturbed"}
    assert set(error) == {0, 1, 2, 3} and set(added) == {1, 2, 3}
    for severity, row in added.items():
        assert row.value == pytest.approx(error[severity] - error[0])
        assert row.lo <= row.value <= row.hi


def test_seeds_have_a_row_of_their_mean(dataset: Path, tmp_path: Path) -> None:
    plan = Plan("seeds", (PlanBlock((VIEW,), ("ridge",), fractions=(0.1, 1.0), seeds=(0, 1, 2)),))
    PlanRun(plan, settings(dataset, tmp_path)).run(quiet)
    rows = [row for row in read_results(tmp_path) if row.metric == "accuracy"]
    rows = [row for row in rows if row.group == "everybody"]
    for backbone, fraction in (("pixels", 0.1), ("pixels", 1.0), ("constant", 0.1)):
        mine = [r for r in rows if r.backbone == backbone and r.label_fraction == fraction]
        (whole,) = [row for row in mine if row.seed is None]
        each = [row.value for row in mine if row.seed is not None]
        assert len(each) == 3 and whole.value == pytest.approx(np.mean(each))
        assert whole.note == "mean of 3 seeds" and whole.lo <= whole.value <= whole.hi


def test_backbones_are_compared_on_the_items_that_all_predicted(dataset: Path, tmp_path: Path) -> None:
    PlanRun(PLAN, settings(dataset, tmp_path, backbones=("pixels", "others"))).run(quiet)
    pairs = pq.read_table(tmp_path / "comparisons.parquet").to_pylist()
    assert len(pairs) == 4 and {(row["one"], row["other"]) for row in pairs} == {("pixels", "others")}
    values = {
        (row.backbone, row.task, row.probe): row.value
        for row in read_results(tmp_path)
        if row.metric in ("MAE", "accuracy") and row.group == "everybody"
    }
    for row in pairs:
        both = [values[name, row["task"], row["probe"]] for name in ("pixels", "others")]
        assert row["difference"] == pytest.approx(both[0] - both[1])
        assert row["p"] <= row["p_holm"] <= 1


def test_counterfactual_sets_are_measured_by_every_probe(dataset: Path, tmp_path: Path) -> None:
    """Studies of the small set stand in for recordings of four patients under two factors."""
    shutil.copytree(dataset, tmp_path / "varied")
    store = LoopStore.open(tmp_path / "varied")
    studies = sorted(set(store.metadata(["study_id"])["study_id"].to_pylist()))[:16]
    labels = []
    for number, study in enumerate(studies):
        factor = "ef" if number < 8 else "gain"
        store.table.update(
            {"patient_id": f"'{factor}{number % 4}'", "split": "'test'"}, where=f"study_id = '{study}'"
        )
        labels.append(
            {"study_id": study, "label": f"varied {factor}", "value": 10.0 * (number // 4), "unit": ""}
        )
    store.add_labels(pa.Table.from_pylist(labels, schema=store.labels().schema))
    plan = Plan("small", (PlanBlock((LVEF,), ("ridge", "ridge, over time")),), mechanism=True)
    config = settings(dataset, tmp_path / "out", counterfactuals=(store.root,))
    PlanRun(plan, config).run(quiet)
    rows = [row for row in read_results(tmp_path / "out") if row.metric.startswith("prediction moved, in")]
    assert {row.group for row in rows} == {"a step of ef", "a step of gain"}
    assert {row.probe for row in rows} == {"ridge", "ridge, over time"}
    assert all(row.lo <= row.value <= row.hi and row.patients == 4 for row in rows)
    with pytest.raises(ConfigError, match="--counterfactuals"):
        PlanRun(plan, settings(dataset, tmp_path / "out"))
    with pytest.raises(ConfigError, match="--vary ef"):
        PlanRun(plan, settings(dataset, tmp_path / "out", counterfactuals=(dataset,)))
