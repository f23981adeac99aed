"""Claims about surprise: a spot no training loop has is found, a score is its loop's own, kinds are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import TIME_MASK, Architecture, ConfigError, InputSpec, LatentConfig, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.explain.foreseen import TrainedRun, Usual, distinct
from echojepa.explain.loops import ListedLoop, ShownLoop
from echojepa.explain.surprise import figure, unlike_table
from echojepa.explain.unlike import SCORES, SURPRISE, Measures, ScoredLoop, kinds_of, of_same_views, told
from echojepa.models.building import build_objective, generator_for
from echojepa.models.masking import sample_mask

SPEC = InputSpec(size=32, frames=16, seconds=0.8)
CONFIG = PretrainConfig(
    data=Path("d"), out=Path("o"), architecture=Architecture("24x2x2x48", patch=8), spec=SPEC,
    masks=(TIME_MASK,), latent=LatentConfig(centred=True), predictor_width=16, predictor_depth=1,
    predictor_heads=1,
)  # fmt: skip
FRAMES, RATE, SIDE = 24, 20.0, 64


def heart(number: int) -> ShownLoop:
    """A grey disc whose radius beats, in a noise of its own."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    radius = 16 + 3 * np.sin(2 * np.pi * (np.arange(FRAMES) / RATE + rng.random()))
    inside = np.hypot(rows, columns) < radius[:, None, None]
    frames = (70 + 60 * inside + rng.normal(0, 6, (FRAMES, SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    facts = ListedLoop(f"loop {number}", f"patient {number % 7}", "A4C", True)
    return ShownLoop(facts, frames, np.arange(FRAMES) / RATE, np.ones((SIDE, SIDE), dtype=bool))


def with_spot(loop: ShownLoop) -> ShownLoop:
    """The same with a bright square that moves about in its upper left eighth."""
    frames = loop.frames.copy()
    for number, frame in enumerate(frames):
        corner = (5 * number) % 7
        frame[corner : corner + 8, corner : corner + 8] = 255
    return replace(loop, frames=frames)


@pytest.fixture(scope="module")
def measures() -> Measures:
    """An untrained run that knows 24 loops. Its targets are less their means, and its predictor gives next to
    nothing: so it errs by how far a token is from what training loops have there."""
    model = build_objective(CONFIG)
    mask = distinct(sample_mask(TIME_MASK, model.encoder.grid, 8, generator_for(0, "surprise", 0)))
    run = TrainedRun("run", model, SPEC, "", (mask,))
    loops = [heart(number) for number in range(24)]
    run.take_in(loop.clips(SPEC)[0] for loop in loops)
    measures = Measures(run, VideoTransformer("JEPA", build_objective(CONFIG).encoder, SPEC))
    measures.learn([measures.measure(loop) for loop in loops])
    return measures


def test_a_bright_moving_spot_raises_the_map_where_it_is(measures: Measures) -> None:
    plain, spot = measures.measure(heart(40)), measures.measure(with_spot(heart(40)))
    for name in (SURPRISE, "nothing moves"):
        raised = (measures.map(spot, name) - measures.map(plain, name))[:, 1:7]
        there, elsewhere = raised[:, :, 0, 0], raised[:, :, 2:, 2:]
        assert there.min() > 3, f"{name}: every hidden tubelet that shows the spot"
        assert there.mean() > 5 * elsewhere.abs().mean(), name
        assert measures.scores(spot)[name] > measures.scores(plain)[name]


def test_identical_loops_have_identical_maps_whatever_was_measured_in_between(measures: Measures) -> None:
    first = measures.map(measures.measure(heart(41)))
    others = [measures.measure(with_spot(heart(number))) for number in range(42, 45)]
    again = measures.measure(heart(41))
    torch.testing.assert_close(measures.map(again), first, rtol=0, atol=0, equal_nan=True)
    assert measures.scores(again) == measures.scores(measures.measure(heart(41)))
    assert len({measures.scores(one)[SURPRISE] for one in others}) == 3


def test_training_loops_have_a_mean_of_zero_and_a_spread_of_one(measures: Measures) -> None:
    loops = [measures.measure(heart(number)) for number in range(24)]
    kind = torch.stack([loop.errors[0].mean(0) for loop in loops]).double()
    scaled = (kind - measures.usual[SURPRISE].means[0]) / measures.usual[SURPRISE].spreads[0]
    torch.testing.assert_close(scaled.mean(0), torch.zeros_like(scaled[0]), atol=1e-9, rtol=0)
    assert (scaled.std(0) < 1 + 1e-9).all() and scaled.std(0).median() > 0.99
    with pytest.raises(UserError, match="3 training loops"):
        Usual.of([loops[0].errors] * 2)


def test_a_split_in_time_hides_both_ends_and_never_what_it_cannot(measures: Measures) -> None:
    """Seen 3 of 8 slots, a gap of 1, hidden 3, from either end: the first and last slot are never hidden."""
    (mask,) = measures.run.masks
    assert len(mask.target_ids) == 2
    shown = measures.map(measures.measure(heart(5)))
    assert shown[:, 1:7].isfinite().all() and shown[:, [0, 7]].isnan().all()


def test_what_is_outside_the_sector_does_not_count(measures: Measures) -> None:
    loop = with_spot(heart(46))
    loop.sector[: SIDE // 4, : SIDE // 4] = False
    whole = measures.scores(measures.measure(with_spot(heart(46))))
    assert measures.scores(measures.measure(loop))[SURPRISE] < whole[SURPRISE]


def scored(count: int, shift: float, view: str = "A4C", start: int = 0) -> list[ScoredLoop]:
    values = np.random.default_rng(count + start).normal(shift, 1, count)
    facts = [ListedLoop(f"{start + n}", f"p{start + n // 2}", view, True) for n in range(count)]
    return [ScoredLoop(fact, dict.fromkeys(SCORES, float(v))) for fact, v in zip(facts, values, strict=True)]


def test_kinds_are_told_by_the_area_under_the_curve_with_patients_resampled() -> None:
    mine, others = scored(16, 1.0), scored(40, 0.0, start=100)
    rows = told("odd", mine, others, "validation loops", 200, 0)
    truth = [1] * 16 + [0] * 40
    expected = roc_auc_score(truth, [one.scores[SURPRISE] for one in (*mine, *others)])
    assert [row.score for row in rows] == list(SCORES)
    assert rows[0].auroc == pytest.approx(expected) and rows[0].lo < expected < rows[0].hi
    assert (rows[0].loops, rows[0].patients, rows[0].other_loops) == (16, 8, 40)
    assert "| odd | 16 | 8 | 40 validation loops | 0." in unlike_table(rows)
    assert figure(rows, {"validation": others, "odd": mine}).startswith("<svg")


def test_a_kind_is_held_against_loops_of_its_views() -> None:
    others = scored(4, 0, "A4C") + scored(6, 0, "PLAX", 10)
    assert of_same_views(scored(2, 0, "PLAX", 50), others) == (others[4:], "validation loops of its views")
    assert of_same_views(scored(2, 0, "", 50), others) == (others, "validation loops")


def test_kinds_are_files_data_sets_or_a_part_of_one_beside_the_rest(dataset: Path, archive: Path) -> None:
    every = LoopStore.open(dataset).metadata(["view"])["view"].to_pylist()
    whole, part = kinds_of([f"all={dataset}", f"apical={dataset}[view=A4C]"], 0, 1)
    assert whole.against is None and len(whole.loops) == len(every)
    assert part.against is not None and {fact.view for fact in part.loops.facts} == {"A4C"}
    assert len(part.loops) + len(part.against) == len(every)
    (files,) = kinds_of([f"files={next(archive.rglob('*.dcm'))}"], 5, 1)
    assert len(files.loops) == 1 and files.against is None
    label = LoopStore.open(dataset).labels().to_pylist()[0]
    (told_by_label,) = kinds_of([f"ill={dataset}[{label['label']}={label['value']}]"], 0, 1)
    assert len({fact.patient for fact in told_by_label.loops.facts}) == 1
    for word, why in (
        ("x", "NAME=PATH"),
        (f"x={archive}[view=A4C]", "not a data set"),
        (f"x={dataset}[lvef=a]", "number"),
    ):
        with pytest.raises(ConfigError, match=why):
            kinds_of([word], 5, 1)
    with pytest.raises(UserError, match="no cine loop"):
        kinds_of([f"x={dataset}[view=TEE]"], 5, 1)
