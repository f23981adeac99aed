"""Claims about cohorts: what studies hold, what is the same whatever the workers, what a factor moves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy
from threadpoolctl import threadpool_info

from echojepa.config import IngestConfig, SimulateConfig
from echojepa.data.identity.splits import assign_split
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.phantom.cohort.counterfactual import FACTORS, counterfactual
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.make import labels_of, study_of, write_cohort
from echojepa.phantom.cohort.presets import PRESETS, Order, order_of
from echojepa.phantom.cohort.sidecar import OF_THE_HEART, loop_truth, truth_row, truth_table
from echojepa.phantom.cohort.sites import SITES, Planned, Protocol
from echojepa.phantom.cohort.study import draw_study, plan_study
from echojepa.phantom.cohort.writers import StoreWriter
from echojepa.progress import quiet
from echojepa.vocabulary import Split, View

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
BRIEFLY = replace(PRESETS["tiny"], seconds=0.12, protocol=Protocol((Planned(View.A4C),)))


def test_the_benchmark_is_as_large_as_it_says() -> None:
    order = PRESETS["benchmark"]
    plans = [plan_study(order, ordinal) for ordinal in range(order.patients)]
    loops = Counter(planned.view for _, planned_loops in plans for planned in planned_loops)
    assert order.patients >= 3000 and sum(loops.values()) >= 25_000
    assert set(loops) == set(View) and min(loops.values()) > 500
    splits = Counter(assign_split(order.seed, ordinal) for ordinal in range(order.patients))
    assert splits[Split.TEST] >= 500
    assert {site.name for site, _ in plans} == set(SITES)
    assert order.seconds >= 2.5 and order.side == 128


def test_studies_with_the_jet_have_two_loops_of_each_view_that_rvsp_wants() -> None:
    order = PRESETS["benchmark"]
    plans = [
        planned for site, planned in (plan_study(order, n) for n in range(100)) if site.name == "teaching"
    ]
    coloured = [Counter(one.view for one in plan if one.colour) for plan in plans]
    jets = [count for count in coloured if count[View.A4C]]
    assert len(jets) > 0.6 * len(plans)
    assert all(count[View.A4C] == count[View.PSAX_AV] == 2 for count in jets)


def test_sites_differ_in_frame_rate_people_and_patients() -> None:
    rates, ages = {}, {}
    for name in SITES:
        studies = [draw_study(replace(BRIEFLY, site=name), ordinal) for ordinal in range(12)]
        rates[name] = np.median([study.loops[0].scanner.frame_rate for study in studies])
        ages[name] = max(study.loops[0].patient.age for study in studies)
    assert rates["children"] > rates["teaching"] > rates["community"]
    assert ages["children"] < 18 < ages["teaching"]
    assert len({(site.operator, site.scanner, site.layouts) for site in SITES.values()}) == len(SITES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients straight into a data set, by two workers."""
    out = tmp_path_factory.mktemp("store") / "data"
    write_cohort(SimulateConfig(out, preset="tiny", patients=3, seconds=0.1, workers=2), quiet)
    return out


def test_a_data_set_does_not_depend_on_workers_and_has_the_ordinary_split(written: Path) -> None:
    order = order_of(SimulateConfig(written, preset="tiny", patients=3, seconds=0.1))
    rows = LoopStore.open(written).metadata().to_pylist()
    assert [row["patient_ordinal"] for row in rows] == sorted(row["patient_ordinal"] for row in rows)
    for row in rows:
        assert row["split"] == assign_split(0, row["patient_ordinal"])
    here = [row for ordinal in range(3) for row in StoreWriter.make(draw_study(order, ordinal), order)]
    assert [row.pixel_sha256 for row in here] == [row["pixel_sha256"] for row in rows]
    assert [row.loop_id for row in here] == [row["loop_id"] for row in rows]


def test_the_sidecar_has_a_row_a_loop_and_labels_are_its_own(written: Path) -> None:
    store, truth = LoopStore.open(written), pq.read_table(written / "truth.parquet").to_pylist()
    assert [row["loop_id"] for row in truth] == store.metadata(["loop_id"])["loop_id"].to_pylist()
    labels = {(row["study_id"], row["label"]): row["value"] for row in store.labels().to_pylist()}
    for number, row in enumerate(truth):
        assert row["synthetic"] and len(row["phase"]) == len(row["volume"]) == len(store.loop(number).times)
        assert labels[row["study_id"], "lvef"] == pytest.approx(row["lvef"])
        assert labels[row["study_id"], "rvsp"] == pytest.approx(row["rvsp"])
        assert row["patient"]["ejection"] == pytest.approx(row["lvef"] / 100, abs=0.01)


def test_a_second_run_adds_nothing_and_another_cohort_is_refused(written: Path) -> None:
    store = LoopStore.open(written)
    before = store.fingerprint()
    write_cohort(SimulateConfig(written, preset="tiny", patients=3, seconds=0.1, workers=1), quiet)
    store.refresh()
    assert store.fingerprint() == before
    with pytest.raises(UserError, match="seconds"):
        write_cohort(SimulateConfig(written, preset="tiny", patients=3, seconds=0.2), quiet)
    with pytest.raises(UserError, match="seed"):
        write_cohort(SimulateConfig(written, preset="tiny", patients=3, seconds=0.1, seed=1), quiet)


def test_killed_at_any_moment_and_run_again_a_data_set_is_whole(written: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    program = (
        "import sys; from pathlib import Path\n"
        "import echojepa.phantom.cohort.writers as w; w.COMMIT_EVERY = 4\n"
        "from echojepa.config import SimulateConfig; from echojepa.phantom.cohort.make import write_cohort\n"
        "if __name__ == '__main__':\n"
        "    config = SimulateConfig(Path(sys.argv[1]), preset='tiny', patients=3, seconds=0.1, workers=1)\n"
        "    write_cohort(config, lambda done, total: print(done, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "2":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    partial = set(LoopStore.open(out).metadata(["study_id"])["study_id"].to_pylist())
    assert 1 <= len(partial) < 3
    time.sleep(0.1)
    write_cohort(SimulateConfig(out, preset="tiny", patients=3, seconds=0.1, workers=1), quiet)
    assert LoopStore.open(out).fingerprint() == LoopStore.open(written).fingerprint()


ALLOWED = {
    "ef": {"patient.ejection", "patient.shortening", "patient.twist", "patient.regional", "patient.rv_edv"},
    "rvsp": {"patient.rvsp", "patient.rv_edv", "patient.ra_volume", "patient.regurgitation"},
    "heart-rate": {"patient.heart_rate"},
    "speckle": {"chance.speckle"},
    "gain": {"scanner.gain"},
    "depth": {"scanner.depth", "scanner.frame_rate"},
    "tilt": {"pose.depth"},
    "heart": {"heart", "view"},
    "wall-motion": {"patient.regional"},
}
"""What a factor may change of all that is drawn; everything else is to be equal."""


def flat(drawn: Any) -> dict[str, Any]:
    """Every drawn value by its dotted name."""
    values: dict[str, Any] = {}
    for name, value in asdict(drawn).items():
        inner = value if isinstance(value, dict) else {"": value}
        values |= {f"{name}.{key}".rstrip("."): np.asarray(one).tolist() for key, one in inner.items()}
    return values


@pytest.mark.parametrize("factor", [name for name in FACTORS if name != "site"])
def test_a_factor_moves_what_it_names_and_nothing_else_that_is_drawn(factor: str) -> None:
    order = replace(BRIEFLY, factor=factor, site="teaching")
    for ordinal in range(6):
        base = flat(draw_study(order, ordinal).loops[0])
        for step, value in enumerate(FACTORS[factor].steps):
            study = study_of(order, ordinal, step)
            moved = flat(study.loops[0])
            assert {name for name in base if base[name] != moved[name]} <= ALLOWED[factor]
            assert (study.factor, study.step, study.value) == (factor, step, value)
    assert study.patient_id == draw_study(order, ordinal).patient_id
    assert len({study_of(order, 0, step).study_id for step in range(len(FACTORS[factor].steps))}) > 1


def test_another_site_keeps_the_patient_and_the_view() -> None:
    order = replace(BRIEFLY, factor="site", site="teaching")
    base = draw_study(order, 0)
    studies = [counterfactual(base, order, step) for step in range(len(SITES))]
    assert [study.site.name for study in studies] == list(SITES)
    assert {study.loops[0].patient for study in studies} == {base.loops[0].patient}
    assert len({study.loops[0].scanner for study in studies}) == len(SITES)


def test_moved_ejection_is_the_truths_and_every_step_can_be_recorded() -> None:
    order = replace(BRIEFLY, factor="ef", site="teaching")
    pictures = []
    for step, percent in enumerate(FACTORS["ef"].steps):
        drawn = study_of(order, 1, step).loops[0]
        assert loop_truth(drawn).lvef == pytest.approx(percent, abs=1.0)
        pictures.append(record_loop(drawn).pictures)
    assert not np.array_equal(pictures[0], pictures[-1])


def test_without_a_heart_there_is_no_label_and_another_picture() -> None:
    order = replace(BRIEFLY, factor="heart", site="teaching")
    there, gone = (study_of(order, 2, step) for step in (0, 1))
    rows = truth_table(there).to_pylist() + truth_table(gone).to_pylist()
    assert rows[0]["lvef"] > 0 and rows[0]["rvsp"] > 0 and rows[0]["volume"]
    assert all(rows[1][name] is None for name in OF_THE_HEART) and rows[1]["view"] == "Other"
    assert labels_of(pa.Table.from_pylist(rows), order)[-1][1:] == ("varied heart", 0, "")
    assert {label for study, label, *_ in labels_of(truth_table(gone), order)} == {"varied heart"}
    pictures = [record_loop(study.loops[0]).pictures.astype(float) for study in (there, gone)]
    assert np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1] < 0.9


def test_gain_alone_brightens_the_very_same_picture() -> None:
    order = replace(BRIEFLY, factor="gain", site="teaching")
    means = [record_loop(study_of(order, 2, step).loops[0]).pictures.mean() for step in range(5)]
    assert means == sorted(means) and means[0] < means[-1]


def test_nuisance_spoils_the_same_heart(tmp_path: Path) -> None:
    studies = {
        level: draw_study(replace(BRIEFLY, nuisance=level), 0) for level in ("low", "standard", "high")
    }
    drawn = [study.loops[0] for study in studies.values()]
    assert len({one.patient for one in drawn}) == 1 and len({one.start for one in drawn}) == 1
    low, standard, high = (one.scanner for one in drawn)
    assert low.haze < standard.haze < high.haze
    assert low.decorrelation > standard.decorrelation > high.decorrelation


def test_labels_of_a_counterfactual_set_name_factor_and_step(tmp_path: Path) -> None:
    config = SimulateConfig(
        tmp_path / "data", preset="tiny", patients=1, seconds=0.1, site="apical", vary="gain", workers=1
    )
    write_cohort(config, quiet)
    store = LoopStore.open(tmp_path / "data")
    values = [row["value"] for row in store.labels().to_pylist() if row["label"] == "varied gain"]
    assert sorted(values) == sorted(FACTORS["gain"].steps)
    assert len(set(store.metadata(["patient_id"])["patient_id"].to_pylist())) == 1


@pytest.mark.parametrize(
    ("layout", "views"),
    [
        ("echonet-dynamic", {"A4C"}),
        ("echonet-pediatric", {"A4C", "PSAX-PM"}),
        ("echonet-lvh", {"PLAX"}),
        ("mimic-iv-echo", None),
        ("camus", {"A4C", "A2C"}),
    ],
)
def test_importers_read_what_is_written_in_their_layouts(
    layout: str, views: set[str] | None, tmp_path: Path
) -> None:
    config = SimulateConfig(
        tmp_path / "set", patients=1, seconds=0.25, layout=layout, site="children", workers=1
    )
    if layout == "camus":  # half a beat has to lie in it
        config = replace(config, seconds=1.5)
    write_cohort(config, quiet)
    into = IngestConfig((tmp_path / "set",), tmp_path / "data", tmp_path / "key", layout=layout, workers=1)
    summary = ingest(into, lambda done, total: None)
    truth = pq.read_table(tmp_path / "set" / "truth.parquet").to_pylist()
    rows = LoopStore.open(tmp_path / "data").metadata().to_pylist()
    assert not summary.came.rejected and len(rows) == len(truth)
    if views is not None:
        assert {row["view"] for row in rows} == views
    labels = LoopStore.open(tmp_path / "data").labels().to_pylist()
    found = sorted(row["value"] for row in labels if row["label"] == "lvef")
    if layout != "echonet-lvh":
        expected = sorted({row["study_id"]: row["lvef"] for row in truth}.values())
        assert found == pytest.approx(expected, abs=0.06)
    else:
        assert {row["label"] for row in labels} == {"lvidd", "lvids", "ivsd", "lvpwd"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"patients": 0}, "at least 1"),
        ({"seconds": 0.0}, "0.1 to"),
        ({"site": "nowhere"}, "teaching"),
        ({"layout": "tape"}, "archive"),
        ({"vary": "mood"}, "heart-rate"),
    ],
)
def test_impossible_cohorts_are_refused(said: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        write_cohort(SimulateConfig(tmp_path / "out", **said), quiet)


@pytest.mark.parametrize("preset", ["tiny", "benchmark"])
def test_a_preset_s_first_patients_are_what_they_were(preset: str) -> None:
    """Bit for bit where arithmetic is (CPU and libraries), else grey for grey."""
    expected = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))[preset]
    found = fingerprint(PRESETS[preset], expected["patients"])
    if expected["machine"] == found["machine"]:
        assert found["sha256"] == expected["sha256"]
    assert found["lvef"] == pytest.approx(expected["lvef"], abs=1e-6)
    assert found["grey"] == pytest.approx(expected["grey"], abs=1.0)


def fingerprint(order: Order, patients: int) -> dict[str, Any]:
    """What the first patients of an order come to."""
    import hashlib

    studies = [draw_study(replace(order, seconds=0.12), ordinal) for ordinal in range(patients)]
    checksum, grey, lvef = hashlib.sha256(), [], []
    for study in studies:
        drawn = study.loops[0]
        pictures = record_loop(drawn).pictures
        checksum.update(pictures.tobytes())
        grey.append(round(float(pictures.mean()), 3))
        lvef.append(truth_row(study, drawn, "")["lvef"])
    kernels = sorted({library["architecture"] for library in threadpool_info() if "architecture" in library})
    features: Any = np.show_config(mode="dicts")
    found = features["SIMD Extensions"]["found"]
    return {
        "patients": patients,
        "machine": [np.__version__, scipy.__version__, kernels, *found],
        "sha256": checksum.hexdigest(),
        "grey": grey,
        "lvef": lvef,
    }


if __name__ == "__main__":
    prints = {preset: fingerprint(PRESETS[preset], 4) for preset in ("tiny", "benchmark")}
    text = json.dumps(prints, indent=2) + "\n"
    FINGERPRINTS.write_text(text, encoding="utf-8")
