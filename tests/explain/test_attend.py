"""Claims about `echojepa attend`: films in true pixels and at true times, numbers, and the whole command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from encoders import weights_of
from PIL import Image

from echojepa.cli import main
from echojepa.config import Architecture, AttendConfig, ConfigError, InputSpec, SimulateConfig
from echojepa.data.clips.clips import fitted, places
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.errors import UserError
from echojepa.explain.attend import attend
from echojepa.explain.films import LoopMap, as_colour, film, overlay, top_of
from echojepa.explain.loops import ListedLoop, ShownLoop, by_ids, first_of_patients, of_files
from echojepa.explain.shares import (
    ClipMap,
    Whose,
    beat_values,
    correlation,
    distance,
    inside,
    paired_rows,
    rows_of,
    share_values,
    shift_rows,
)
from echojepa.explain.writing import write_loop
from echojepa.files.tables import write_parquet
from echojepa.models.vit import VisionTransformer
from echojepa.phantom.cohort.loops import simulate_loop
from echojepa.phantom.cohort.make import labels_of, study_of
from echojepa.phantom.cohort.presets import order_of
from echojepa.phantom.cohort.sidecar import truth_table
from echojepa.phantom.cohort.writers import StoreWriter
from echojepa.progress import quiet
from echojepa.weights.folder import Origin, save_weights

SPEC = InputSpec(size=32, frames=4, seconds=0.2)
ARCHITECTURE = Architecture("24x2x2x48", patch=16)


def cohort(out: Path, patients: int, vary: str | None = None) -> Path:
    """A data set of small loops with its truth, made in this process; of a factor the first two steps."""
    order = order_of(SimulateConfig(out, preset="tiny", seconds=0.25, vary=vary))
    out.mkdir(parents=True)
    writer, truths = StoreWriter(order), []
    for ordinal in range(patients):
        for step in (0, 1) if vary else (None,):
            whole = study_of(order, ordinal, step)
            study = replace(whole, loops=whole.loops[:1])
            writer.take(StoreWriter.make(study, order))
            truths.append(truth_table(study))
    truth = pa.concat_tables(truths, promote_options="permissive")
    writer.finish(labels_of(truth, order))
    write_parquet(out / "truth.parquet", truth)
    return out


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and one in which speckle alone moves."""
    out = tmp_path_factory.mktemp("sets")
    return cohort(out / "data", 4), cohort(out / "speckle", 2, "speckle")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder whose weights are random, and large."""
    folder = tmp_path_factory.mktemp("encoder")
    network = VisionTransformer(ARCHITECTURE, SPEC, torch.Generator().manual_seed(3))
    for value in network.parameters():
        value.data *= 4
    save_weights(folder, weights_of(network, ARCHITECTURE, SPEC, Origin("jepa", 7)))
    return folder


def loop_of(frames: int, height: int, width: int, rate: float = 20.0) -> ShownLoop:
    pixels = np.random.default_rng(0).integers(20, 200, (frames, height, width), dtype=np.uint8)
    facts = ListedLoop("loop", "patient", "A4C", True)
    return ShownLoop(facts, pixels, np.arange(frames) / rate, np.ones((height, width), dtype=bool))


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64)])
@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, resized=40),
        replace(SPEC, margin=0.1),
        replace(SPEC, seconds=None, stride=1, clips="halves"),
        replace(SPEC, seconds=None, stride=1, clips="halves", resized=36),
    ],
)
def test_a_spot_lies_where_its_pixel_is_said_to_be(spec: InputSpec, shape: tuple[int, int]) -> None:
    for row, column in ((20, 20), (41, 37), (33, 50)):
        frames = np.zeros((1, *shape), dtype=np.uint8)
        frames[0, row - 1 : row + 2, column - 1 : column + 2] = 255
        clip = fitted(spec, frames)[0, 0].double().numpy()
        rows, columns = places(spec, shape)
        if clip.sum() == 0:
            assert not (0 < rows[row] < spec.size and 0 < columns[column] < spec.size)
            continue
        centre = [(np.arange(spec.size) + 0.5) @ clip.sum(axis) / clip.sum() for axis in (1, 0)]
        np.testing.assert_allclose(centre, [rows[row], columns[column]], atol=0.6)


def test_a_map_colours_its_own_cell_at_its_own_time_and_nothing_else() -> None:
    loop = loop_of(8, 48, 64)
    maps = np.ones((2, 2, 2, 2), dtype=np.float32)
    maps[1, 0, 1, 0] = 9.0
    shown = LoopMap("one", "rollout", SPEC, [0.0, 0.2], maps, np.ones((2, 2), dtype=bool))
    plain = as_colour(loop.frames)
    painted = (overlay(plain, loop, shown, 3.0) != plain).any(-1)
    assert painted[4:6, 24:, :32].mean() > 0.99, "third tubelet of time, below, left; the black bar is above"
    painted[4:6, 24:, :32] = False
    assert not painted.any()


def test_less_than_an_even_share_is_left_as_it_is_and_scales_are_shared() -> None:
    loop = loop_of(4, 32, 32)
    low, high = np.full((1, 2, 2, 2), 0.2, np.float32), np.full((1, 2, 2, 2), 5.0, np.float32)
    one, other = (
        LoopMap(name, "layer:-1", SPEC, [0.0], m, np.ones((2, 2), bool))
        for name, m in (("a", low), ("b", high))
    )
    plain = as_colour(loop.frames)
    assert (overlay(plain, loop, one, 3.0) == plain).all()
    assert top_of([one]) == pytest.approx(1.2) and top_of([one, other]) == pytest.approx(5.0)
    whole = film(loop, [one, other], {"layer:-1": 5.0})
    assert whole.shape[0] == 4 and whole.shape[2] >= 3 * 32 and not any(n % 2 for n in whole.shape[1:3])


def test_outside_the_sector_nothing_is_coloured() -> None:
    loop = loop_of(4, 32, 32)
    loop.sector[:, :16] = False
    bright = LoopMap(
        "a", "rollout", SPEC, [0.0], np.full((1, 2, 2, 2), 4.0, np.float32), np.ones((2, 2), bool)
    )
    changed = (overlay(as_colour(loop.frames), loop, bright, 2.0) != as_colour(loop.frames)).any(-1)
    assert not changed[:, :, :16].any() and changed[:, :, 16:].mean() > 0.99


def test_clips_cover_a_loop_and_each_frame_has_the_slot_that_shows_it() -> None:
    loop = loop_of(11, 32, 32)
    starts = loop.starts(SPEC)
    assert len(starts) == 3 and starts[0] == 0 and starts[-1] == pytest.approx(0.35)
    clip, slot = loop.slots(SPEC, starts, 2)
    for frame in range(11):
        held = loop.indices(SPEC, starts[clip[frame]]).reshape(2, 2)[slot[frame]]
        assert np.abs(held - frame).min() <= 1
    assert loop_of(3, 32, 32).starts(SPEC) == [0.0]


def test_a_film_has_every_frame_at_its_time_and_a_folder_is_whole(tmp_path: Path) -> None:
    loop = loop_of(6, 40, 60)
    times = np.array([0.0, 0.03, 0.09, 0.14, 0.2, 0.33])
    loop = replace(loop, times=times)
    maps = LoopMap("a", "rollout", SPEC, [0.0], np.ones((1, 2, 2, 2), np.float32), np.ones((2, 2), bool))
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "old").touch()
    write_loop(tmp_path / "loop", loop, [maps], film(loop, [maps], {"rollout": 2.0}))
    assert {path.name for path in tmp_path.glob("*/*")} == {"film.mp4", "film.gif", "strip.png", "maps.npz"}
    with av.open(str(tmp_path / "loop" / "film.mp4")) as container:
        stream = container.streams.video[0]
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
        assert stream.codec_context.name == "vp9"
    np.testing.assert_allclose(shown, times, atol=1e-6)
    with Image.open(tmp_path / "loop" / "film.gif") as picture:
        lasting = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            lasting.append(picture.info["duration"])
    assert lasting == [30, 60, 50, 60, 130, 60]
    with np.load(tmp_path / "loop" / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == ["a | rollout"] and arrays["at_frames_0"].shape == (6, 2, 2)
        assert (arrays["frames"] == loop.frames).all() and (arrays["times"] == times).all()


def clip_map(
    patient: str, weights: np.ndarray, region: np.ndarray, volume: np.ndarray | None = None
) -> ClipMap:
    return ClipMap(patient, "A4C", weights, {"sector": np.ones_like(weights), "r": region}, volume)


WHOSE = Whose("JEPA", "0", "rollout", 200, 0)


def number(rows, measure: str, region: str = "r") -> float:
    return next(row.value for row in rows if row.measure == measure and row.region == region)


def test_enrichment_is_share_over_area_and_others_regions_take_off_what_all_have() -> None:
    """Attention on the left half for everybody; regions are the left half of one, the right half of
    another."""
    left, right = np.zeros((2, 2, 4)), np.zeros((2, 2, 4))
    left[..., :2], right[..., 2:] = 1.0, 1.0
    looks = 0.5 + left
    clips = [clip_map("a", looks, left), clip_map("b", looks, right)]
    assert inside(clips[0], "r") == (0.75, 0.5) and inside(clips[0], "r", clips[1]) == (0.25, 0.5)
    rows = list(rows_of(WHOSE, clips, share_values(clips)))
    assert number(rows, "share") == 50 and number(rows, "area") == 50 and number(rows, "enrichment") == 1
    assert number(rows, "enrichment, own minus others'") == 0
    follows = [clip_map("a", 0.5 + left, left), clip_map("b", 0.5 + right, right)]
    assert (
        number(list(rows_of(WHOSE, follows, share_values(follows))), "enrichment, own minus others'") == 1.0
    )
    even = [clip_map(p, np.ones((2, 2, 4)), r) for p, r in (("a", left), ("b", right))]
    assert {row.value for row in rows_of(WHOSE, even, share_values(even)) if row.unit == "x"} == {0.0, 1.0}


def test_an_even_map_beats_with_the_cavity_by_its_area_alone() -> None:
    """The share inside a growing cavity grows for whoever looks nowhere: only the density tells."""
    volume = np.array([60.0, 90, 120, 100])
    region = np.zeros((4, 2, 4))
    region[:, 0] = volume[:, None] / 150
    even = [clip_map(p, np.ones((4, 2, 4)), region, volume) for p in "ab"]
    rows = list(rows_of(WHOSE, even, beat_values(even, "r")))
    found = {row.measure.split(": ")[1]: row.value for row in rows}
    assert found["share in it"] == pytest.approx(1) and found["its area alone"] == pytest.approx(1)
    assert found["share over area"] == 0 and found["attention that a time gets"] == 0
    looks = np.ones((4, 2, 4))
    looks[:, 0] = (volume / 60)[:, None]
    denser = [clip_map(p, looks, region, volume) for p in "ab"]
    rows = list(rows_of(WHOSE, denser, beat_values(denser, "r")))
    assert number(rows, "correlation with volume: share over area") > 0.8
    assert correlation(np.ones(5), np.arange(5.0)) == 0 and np.isnan(correlation(np.ones(2), np.ones(2)))


def test_a_paired_number_is_the_mean_of_differences_and_its_interval_theirs() -> None:
    """Patients differ by far more than a map from its start: only paired does the interval leave 0."""
    rng = np.random.default_rng(0)
    region = np.zeros((4, 2, 4))
    region[:, 0] = 1.0
    levels = rng.uniform(0.2, 4, 8)
    starts = [clip_map(f"p{n}", 1 + level * region, region) for n, level in enumerate(levels)]
    clips = [clip_map(f"p{n}", 1 + (level + 0.4) * region, region) for n, level in enumerate(levels)]
    (paired,) = [
        row
        for row in paired_rows(WHOSE, clips, starts, "r")
        if (row.region, row.measure) == ("r", "enrichment")
    ]
    each = [number(list(rows_of(WHOSE, some, share_values(some))), "enrichment") for some in (clips, starts)]
    assert paired.value == pytest.approx(each[0] - each[1]) and paired.lo > 0
    same = list(paired_rows(WHOSE, clips, clips, "r"))
    assert same and {(row.value, row.lo, row.hi) for row in same} == {(0.0, 0.0, 0.0)}


def test_maps_that_do_not_move_are_moved_by_nothing_and_disjoint_ones_by_all() -> None:
    one, other = np.zeros((1, 1, 4)), np.zeros((1, 1, 4))
    one[..., 0], other[..., 3] = 4.0, 4.0
    assert distance(one, one) == 0 and distance(one, other) == 100
    series = [[clip_map("a", one, one)] * 3, [clip_map("b", other, one)] * 3]
    rows = list(shift_rows(WHOSE, series))
    assert [row.value for row in rows] == [0.0, 100.0, 0.0]


def test_the_command_makes_films_and_numbers_of_every_backbone_and_its_random_start(
    sets: tuple[Path, Path], encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, speckle = sets
    arguments = ["attend", "--data", str(data), "--backbones", str(encoder), "--out", str(tmp_path / "o")]
    more = [
        "--split",
        "train",
        "--view",
        "A4C",
        "--films",
        "1",
        "--resamples",
        "20",
        "--speckle",
        str(speckle),
    ]
    assert main(arguments + more) == 0
    said = capsys.readouterr().out
    assert "heart" in said and "random encoder" in said and "nothing here is clinical" in said
    table = pq.read_table(tmp_path / "o" / "numbers.parquet").to_pylist()
    minus = "JEPA minus its start"
    assert {row["backbone"] for row in table} == {"JEPA", "random encoder", minus}
    heart = {
        r["backbone"]: r["value"]
        for r in table
        if (r["source"], r["region"], r["measure"]) == ("rollout", "heart", "enrichment")
    }
    assert heart[minus] == pytest.approx(heart["JEPA"] - heart["random encoder"]) and minus in said
    assert {row["source"] for row in table} == {"layer:-1", "rollout", "occlusion"}
    regions = {
        "sector",
        "heart",
        "left ventricular cavity",
        "left ventricular wall",
        "artefacts",
        "bright tissue",
    }
    assert regions < {row["region"] for row in table} and {row["loops"] for row in table} == {2}
    assert {"moved by other speckle", "moved by speckle, of what another patient moves"} < {
        r["measure"] for r in table
    }
    areas = {row["value"] for row in table if (row["region"], row["measure"]) == ("heart", "area")}
    assert len(areas) == 1, "what lies under maps is the same for all"
    record = json.loads((tmp_path / "o" / "attend.json").read_text())
    assert record["tops"].keys() == {"layer:-1", "rollout", "occlusion"} and "even share" in record["rule"]
    assert [path.name for path in sorted((tmp_path / "o").iterdir()) if path.is_dir()] == ["loop-01"]


def test_loops_are_the_first_of_patients_or_those_that_are_named(sets: tuple[Path, Path]) -> None:
    every = first_of_patients(sets[0], "train", None, 0)
    assert len(every) == len({fact.patient for fact in every.facts}) == 2
    named = by_ids(sets[0], [every.facts[1].name])
    assert named.facts == [every.facts[1]] and (named[0].frames == every[1].frames).all()
    with pytest.raises(UserError, match="no loops with the ids"):
        by_ids(sets[0], ["nobody"])
    with pytest.raises(UserError, match="no cine loop of the split 'test'"):
        first_of_patients(sets[0], "test", None, 2)
    with pytest.raises(ConfigError, match="either a data set"):
        AttendConfig(("r",), Path("o"))


def test_files_are_read_as_ingest_reads_them_and_named_by_their_place(encoder: Path, tmp_path: Path) -> None:
    order = order_of(SimulateConfig(tmp_path, seconds=0.3, patients=1))
    folder = tmp_path / "Mustermann"
    folder.mkdir()
    loop = simulate_loop(study_of(order, 0), 0).loop
    write_cine(folder / "a.dcm", loop, patient_name="M^A", study_date="20260101")
    (folder / "b.dcm").write_text("no DICOM")
    loops = of_files([folder], 1)
    assert [fact.name for fact in loops.facts] == ["file 1"] and loops.left_out == [
        "1 files: not a DICOM file"
    ]
    config = AttendConfig(
        (str(encoder),), tmp_path / "o", files=(folder,), sources=("layer:-1",), films=0, resamples=5
    )
    made = attend(config, quiet)
    assert "moving tissue" in made.page and "heart" not in made.page.split("##")[1]
    assert "Mustermann" not in (tmp_path / "o" / "attend.json").read_text()
    with pytest.raises(UserError, match="none of the 1 files"):
        of_files([folder / "b.dcm"], 1)
