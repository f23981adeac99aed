"""EchoNet-Dynamic and EchoNet-Pediatric in their publishers' folders, from ingest to table by the command.

The folders are phantom loops in those layouts; their tables' splits are rewritten here, so that what is
scored can follow from nothing but the tables.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from encoders import weights_of
from torch import Tensor

from echojepa.backbones.echoprime import EchoPrime
from echojepa.backbones.panecho import PanEcho
from echojepa.backbones.transformer import VideoTransformer
from echojepa.cli import main
from echojepa.config import Architecture, InputSpec, SimulateConfig
from echojepa.evaluation.probes.stored import read_predictions
from echojepa.evaluation.results import read_results, read_settings
from echojepa.models.contract import TokenGrid
from echojepa.models.vit import VisionTransformer
from echojepa.phantom.cohort.make import write_cohort
from echojepa.progress import quiet
from echojepa.weights.folder import Origin, save_weights

QUICK = (
    "--workers",
    "1",
    "--epochs",
    "2",
    "--min-steps",
    "1",
    "--resamples",
    "20",
    "--learning-rates",
    "0.001",
    "--weight-decays",
    "0.01",
)
Row = dict[str, str]


def read(table: Path) -> list[Row]:
    """Rows of a CSV file."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rewrite(table: Path, rows: Sequence[Row]) -> None:
    """Put rows in place of a CSV file's."""
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def command(*arguments: str | Path) -> None:
    """Run a command, which must succeed."""
    assert main([str(argument) for argument in arguments]) == 0


def lvef_of(rows: Sequence[Row], *splits: str) -> list[float]:
    """LVEF that a table states for the patients of some splits, sorted."""
    return sorted(float(row["EF"]) for row in rows if row["Split"] in splits)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dynamic` and `pediatric`, as a user gets them: each third adult TEST, each fourth child of fold 7."""
    root = tmp_path_factory.mktemp("public")
    for name, patients, site in (("dynamic", 11, "teaching"), ("pediatric", 8, "children")):
        layout = f"echonet-{name}"
        write_cohort(
            SimulateConfig(
                root / name, patients=patients, seconds=0.2, layout=layout, site=site, workers=1, seed=4
            ),
            quiet,
        )
    parts = {"dynamic": ("TEST", "TRAIN", "VAL"), "pediatric": ("7", "2", "4", "9")}
    for table in (root / "dynamic" / "FileList.csv", *sorted(root.glob("pediatric/*/FileList.csv"))):
        names = parts["dynamic" if table.parent.name == "dynamic" else "pediatric"]
        rewrite(table, [row | {"Split": names[n % len(names)]} for n, row in enumerate(read(table))])
    return root


@pytest.fixture(scope="module")
def datasets(folders: Path) -> Path:
    """Both, ingested as the how-to guide says."""
    for name, more in (("dynamic", ()), ("pediatric", ("--held-out", "7", "4"))):
        command(
            "ingest", "--from", f"echonet-{name}", "--sources", folders / name,
            "--out", folders / f"{name}-set", "--key", folders / "key",
            "--site", name, "--workers", "1", *more,
        )  # fmt: skip
    return folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the smallest encoder in a run's folder, not those that the run started from."""
    spec, architecture = InputSpec(size=32, frames=4, seconds=0.15), Architecture("micro", patch=8)
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(7))
    folder = tmp_path_factory.mktemp("run") / "weights"
    save_weights(folder, weights_of(encoder, architecture, spec, Origin("jepa")))
    return folder


@pytest.fixture(scope="module")
def transferred(datasets: Path, run: Path) -> Path:
    """What `evaluate transfer` writes of the two."""
    out = datasets / "results"
    command("evaluate", "transfer", "--data", datasets / "dynamic-set", datasets / "pediatric-set",
            "--out", out, "--backbones", run, "--without", "fine-tuned", *QUICK)  # fmt: skip
    return out


def test_both_folders_run_through_the_one_command_and_the_children_are_found(transferred: Path) -> None:
    """Adults' own row, the adults' probe on children as it is, and a probe trained again on children."""
    rows = [row for row in read_results(transferred) if row.metric == "MAE" and row.group == "everybody"]
    wanted = {("dynamic", "dynamic"), ("dynamic", "pediatric"), ("pediatric", "pediatric")}
    for probe in ("linear", "attentive", "ridge"):
        for backbone in {row.backbone for row in rows} - {"constant"}:
            mine = {
                (row.trained_on, row.site) for row in rows if (row.backbone, row.probe) == (backbone, probe)
            }
            assert mine == wanted, f"{backbone}, {probe}"
    assert {(row.trained_on, row.site) for row in rows if row.backbone == "constant"} == wanted
    assert len({row.backbone for row in rows}) == 3, "the weights, their random start, the constant"
    assert {(row.site, row.patients) for row in rows} == {("dynamic", 4), ("pediatric", 2)}
    tables = (transferred / "tables.md").read_text(encoding="utf-8")
    assert "| ours | pediatric (external, trained at dynamic) | pediatric (internal) |" in tables
    assert read_settings(transferred).children == "pediatric", "for the report, which makes the tables again"


def test_those_scored_are_the_publisher_s_test_patients_with_the_publisher_s_lvef(
    folders: Path, transferred: Path
) -> None:
    """And those trained on are its training and validation patients: no seeded split, no value changed."""
    adults, children = (
        read(folders / "dynamic" / "FileList.csv"),
        read(folders / "pediatric/A4C/FileList.csv"),
    )
    stated = {
        ("dynamic", "test"): lvef_of(adults, "TEST"), ("dynamic", "val"): lvef_of(adults, "VAL"),
        ("dynamic", "train"): lvef_of(adults, "TRAIN"), ("pediatric", "test"): lvef_of(children, "7"),
        ("pediatric", "val"): lvef_of(children, "4"), ("pediatric", "train"): lvef_of(children, "2", "9"),
    }  # fmt: skip
    assert all(len(set(values)) == len(values) for values in stated.values()), "a patient is told by LVEF"
    seen: set[tuple[str, str, str]] = set()
    for file in transferred.glob("probes/lvef/*/*/predictions-*.parquet"):
        made, made_by = read_predictions(file)
        for site, split in set(zip(made.sites.tolist(), made.splits.tolist(), strict=True)):
            chosen = (made.sites == site) & (made.splits == split)
            assert sorted(made.truth[chosen].tolist()) == pytest.approx(stated[site, split], abs=1e-4)
            seen.add((made_by["trained_on"], site, split))
    assert seen == {
        (site, site, split) for site in ("dynamic", "pediatric") for split in ("train", "val", "test")
    } | {("dynamic", "pediatric", "test")}


def test_the_short_axis_of_a_child_takes_no_part_in_its_lvef(transferred: Path) -> None:
    """EchoNet-Pediatric has two views a study; LVEF is read from A4C, as in adults."""
    rows = [row for row in read_results(transferred) if row.site == "pediatric" and row.metric == "MAE"]
    assert rows and all(row.loops == row.items == row.patients for row in rows if row.group == "everybody")


PUBLISHED = {
    "untrained architecture (EchoPrime)": (34_623_872, 392, 768),
    "untrained architecture (PanEcho)": (27_820_128 + 14_186_496, 16, 768),
    "untrained architecture (VideoMAE, large)": (303_885_312, 1568, 1024),
}
"""Parameters, tokens and width. EchoPrime's and PanEcho's as `tests/backbones/test_supervised.py` counts them
in torchvision's own modules; VideoMAE-L's is ViT-L's: 24 blocks of width 1024, the patch, the last norm."""


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the backbones, once a clip that they see."""
    seen: list[str] = []

    def counted(features: Callable[..., TokenGrid]) -> Callable[..., TokenGrid]:
        def wrapper(self: EchoPrime | PanEcho | VideoTransformer, pixels: Tensor) -> TokenGrid:
            seen.extend([self.name] * len(pixels))
            return features(self, pixels)

        return wrapper

    for kind in (EchoPrime, PanEcho, VideoTransformer):
        monkeypatch.setattr(kind, "features", counted(kind.features))
    return seen


@pytest.mark.slow
def test_the_published_architectures_run_untrained_and_wait_for_a_user_s_files(
    folders: Path, tmp_path: Path, passes: list[str]
) -> None:
    """Rows of all three on a fixed subset; a second run makes no pass; a file beside its random start."""
    pytest.importorskip("torchvision")
    shutil.copytree(folders / "dynamic", tmp_path / "few")
    rewrite(tmp_path / "few/FileList.csv", read(folders / "dynamic" / "FileList.csv")[:7])
    command("ingest", "--from", "echonet-dynamic", "--sources", tmp_path / "few", "--out", tmp_path / "set",
            "--key", tmp_path / "key", "--workers", "1")  # fmt: skip

    def evaluate(*backbones: str | Path) -> dict[tuple[str, str], dict[str, object]]:
        command("probe", "--tasks", "lvef", "--probes", "linear", "ridge", "--data", tmp_path / "set",
                "--out", tmp_path / "out", "--test-loops", "2", "--batch-size", "4",
                "--backbones", *backbones, *QUICK)  # fmt: skip
        rows = [row for row in read_results(tmp_path / "out") if row.metric == "MAE"]
        return {(row.backbone, row.probe): row for row in rows if row.group == "everybody"}

    names = ("untrained:echoprime", "untrained:panecho", "untrained:videomae")
    first = evaluate(*names)
    assert set(first) == {(name, probe) for name in PUBLISHED for probe in ("linear", "ridge")} | {
        ("constant", "constant")
    }
    for (name, _), row in first.items():
        if name in PUBLISHED:
            assert (row.parameters, row.tokens, row.embed_dim) == PUBLISHED[name]
            assert row.note == "a fixed subset: 2 of 3 test loops" and row.patients == 2
            assert 6 <= passes.count(name) <= 7, (
                "four clips that train or choose, two test clips, one for the size"
            )
    passes.clear()
    assert evaluate(*names) == first and not passes

    torch.manual_seed(1)
    torch.save(EchoPrime.build().state_dict(), tmp_path / "echo_prime_encoder.pt")
    theirs = evaluate(tmp_path / "echo_prime_encoder.pt")
    random = "untrained architecture (EchoPrime)"
    assert {name for name, _ in theirs} == {"echo_prime_encoder.pt", random, "constant"}
    assert set(passes) == {"echo_prime_encoder.pt"}, "the random start is in the cache"
    assert theirs[random, "ridge"] == first[random, "ridge"]
