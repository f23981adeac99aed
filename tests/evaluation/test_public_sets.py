"""Public data sets in their publishers' folders, and foreign architectures, through the one command."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from echojepa.cli import main
from echojepa.config import SimulateConfig
from echojepa.evaluation.results import read_results
from echojepa.evaluation.stored_probes import read_predictions
from echojepa.phantom.cohort import write_cohort


@dataclass(frozen=True)
class Sets:
    """Folders as their publishers lay them out, and what `ingest` made of them."""

    dynamic: Path
    pediatric: Path
    adults: Path
    children: Path


def bring_in(name: str, folder: Path, out: Path) -> None:
    """As a user does."""
    rest = ["--key", str(out.parent / "my.key"), "--site", name, "--workers", "1"]
    assert main(["ingest", "--from", name, "--sources", str(folder), "--out", str(out), *rest]) == 0


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Twenty adults in one folder, twenty children in the other."""
    root = tmp_path_factory.mktemp("public")
    made = Sets(root / "EchoNet-Dynamic", root / "pediatric_echo_avi", root / "adults", root / "children")
    for name, folder, out, patients in (
        ("echonet-dynamic", made.dynamic, made.adults, 20),
        ("echonet-pediatric", made.pediatric, made.children, 20),
    ):
        order = SimulateConfig(folder, layout=name, patients=patients, seconds=0.2, seed=4, workers=1)
        write_cohort(order, lambda done, total: None)
        bring_in(name, folder, out)
    return made


def listed(file: Path) -> list[dict[str, str]]:
    """A publisher's table."""
    with file.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def scored_truth(out: Path, site: str) -> list[float]:
    """True LVEF of a site's test studies, as every file of predictions has them, sorted."""
    found: dict[str, float] = {}
    for file in out.glob("probes/lvef/*/*/predictions-*.parquet"):
        made, _ = read_predictions(file)
        here = (made.sites == site) & (made.splits == "test")
        for item, truth in zip(made.items[here].tolist(), made.truth[here].tolist(), strict=True):
            assert found.setdefault(item, truth) == truth
    return sorted(found.values())


def test_echonet_dynamic_and_pediatric_run_through_evaluate(
    sets: Sets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "results"
    assert main(["pretrain", "smoke", "--data", str(sets.adults), "--out", str(run)]) == 0
    command = ["evaluate", "transfer", "--data", str(sets.adults), str(sets.children), "--out", str(out)]
    few = ["--epochs", "1", "--finetune-epochs", "1", "--resamples", "20", "--learning-rates", "1e-3"]
    assert main([*command, "--backbones", str(run), *few]) == 0
    rows = [row for row in read_results(out) if row["metric"] == "MAE" and row["backbone"] == "JEPA"]
    adults, children = "echonet-dynamic", "echonet-pediatric"
    for probe in ("linear", "attentive", "ridge", "fine-tuned"):
        mine = {(row["trained_on"], row["site"]) for row in rows if row["probe"] == probe}
        assert mine == {(adults, adults), (adults, children), (children, children)}

    ages = [float(row["Age"]) for row in listed(sets.pediatric / "A4C" / "FileList.csv")]
    assert max(ages) < 18, "a layout of children holds children unless another site is said"
    dynamic = [row["EF"] for row in listed(sets.dynamic / "FileList.csv") if row["Split"] == "TEST"]
    fold = [row["EF"] for row in listed(sets.pediatric / "A4C" / "FileList.csv") if row["Split"] == "0"]
    for site, expected in ((adults, dynamic), (children, fold)):
        loops = {row["loops"] for row in rows if row["site"] == site}
        assert loops == {len(expected)}, "one A4C a patient: a child's short axis takes no part in its LVEF"
        assert scored_truth(out, site) == pytest.approx(sorted(map(float, expected)), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tokens", "width"),
    [("untrained:echoprime", 392, 768), ("untrained:panecho", 16, 768), ("untrained:videomae", 1568, 1024)],
)
def test_foreign_architectures_run_and_wait_only_for_their_files(
    tmp_path: Path, name: str, tokens: int, width: int
) -> None:
    """Untrained, on six loops: two patients train, two choose, two are tested, one of them for speed."""
    folder = tmp_path / "EchoNet-Dynamic"
    write_cohort(
        SimulateConfig(folder, layout="echonet-dynamic", patients=6, seconds=0.3, workers=1),
        lambda done, total: None,
    )
    rows = listed(folder / "FileList.csv")
    with (folder / "FileList.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow(row | {"Split": ("TRAIN", "VAL", "TEST")[number % 3]})
    bring_in("echonet-dynamic", folder, tmp_path / "data")
    out = tmp_path / "results"
    command = ["probe", "--data", str(tmp_path / "data"), "--out", str(out), "--backbones", name]
    settings = ["--tasks", "lvef", "--probes", "linear", "ridge", "--epochs", "1", "--test-loops", "1"]
    assert main([*command, *settings]) == 0
    mine = [row for row in read_results(out) if row["backbone"] != "constant" and row["metric"] == "MAE"]
    assert {row["probe"] for row in mine} == {"linear", "ridge"}
    assert {(row["tokens"], row["embed_dim"]) for row in mine} == {(tokens, width)}
    assert all(row["note"] == "a fixed subset: 1 of 2 test loops" for row in mine)
    shards = {file: file.stat().st_mtime_ns for file in out.glob("features/*/*.npy")}
    assert main([*command, *settings]) == 0
    assert shards == {file: file.stat().st_mtime_ns for file in out.glob("features/*/*.npy")}, (
        "no second pass"
    )
