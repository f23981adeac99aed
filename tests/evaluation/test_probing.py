"""Claims about probes: what they can learn, what they cannot, and that the test set chooses nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import standardiser_of
from scipy.linalg import LinAlgWarning
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from echojepa.config import FrozenConfig
from echojepa.evaluation.features import tokens as tokens_module
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.features.samples import FeatureSamples, targets
from echojepa.evaluation.features.tokens import Features, Tokens, fit_standardiser, principal_axes
from echojepa.evaluation.probes import ridge as ridge_module
from echojepa.evaluation.probes.fitting import constant_outputs, fit_probe
from echojepa.evaluation.probes.heads import has_converged
from echojepa.evaluation.probes.predictions import Predictions, average
from echojepa.evaluation.probes.ridge import fit_ridge
from echojepa.evaluation.probes.stored import StoredProbe
from echojepa.evaluation.protocol.plans import EVERYWHERE, PROBES, Cell
from echojepa.evaluation.statistics.metrics import ACCURACY, R2, Metric
from echojepa.models.grid import GridAdamW
from echojepa.tasks import LVEF, RVSP, VIEW, Task
from echojepa.vocabulary import Split

GRID = (1, 4, 4)
CONFIG = FrozenConfig(
    epochs=25,
    min_steps=1,
    learning_rates=(1e-3, 3e-3),
    weight_decays=(0.01,),
)
"""Two heads are enough to choose among."""
STUDIES = replace(CONFIG, epochs=15, learning_rates=(3e-3,))


def addresses(count: int) -> np.ndarray:
    """A clip a row of one data set."""
    return np.stack([np.zeros(count, int), np.arange(count), np.zeros(count, int)], axis=1)


def split_of(data: FeatureSamples, split: Split) -> torch.Tensor:
    return torch.from_numpy(data.within(split))


def samples_of(features: Features, truth: torch.Tensor, splits: np.ndarray, **others: Any) -> FeatureSamples:
    """A sample a clip, each of its own item and patient, unless something else is said."""
    names = np.array([f"i{number}" for number in range(len(truth))])
    columns = {
        "items": names, "patients": names, "splits": splits, "sites": np.full(len(truth), "here"),
        "truth": truth.double().numpy(), "classes": (), "features": features,
        "places": np.arange(len(truth))[:, None],
    }  # fmt: skip
    return FeatureSamples(**columns | others)


def labelled(signal: float, classes: tuple[str, ...] = (), seed: int = 0) -> FeatureSamples:
    """240 clips of noise tokens; the truth moves one channel of the tokens in one corner of the grid."""
    rng = torch.Generator().manual_seed(seed)
    count, tokens = 240, torch.randn(240, 16, 24, generator=rng)
    truth = (
        torch.randint(len(classes), (count,), generator=rng)
        if classes
        else 55 + 12 * torch.randn(count, generator=rng)
    )
    where = torch.zeros(16)
    where[[3, 7, 9, 13]] = 1.0
    size = (truth.float() - truth.float().mean()) / truth.float().std()
    tokens[:, :, 5] += signal * size[:, None] * where
    patients = np.array([f"p{i // 2}" for i in range(count)])
    splits = np.array([(["train"] * 7 + ["val"] * 2 + ["test"])[(i // 2) % 10] for i in range(count)])
    features = Features(Tokens.of(tokens.half()), tokens.mean(1), GRID, addresses(count))
    return samples_of(features, truth, splits, patients=patients, classes=classes)


def predictions(data: FeatureSamples, task: Task, kind: str, config: FrozenConfig = CONFIG) -> Predictions:
    """Of every sample, by the probe that its training and validation samples make."""
    readout, _ = fit_probe(data, task, PROBES[kind], config, 0)
    return average(readout.outputs(data), data)


def on_test(made: Predictions, metric: Metric) -> float:
    test = made.of_test()
    return metric(test.truth, test.values)


def test_the_grid_s_adamw_is_torch_s() -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)))

    model = Pair()
    plain = [torch.nn.Parameter(model.weight[g].detach().clone()) for g in range(2)]
    rates, decays = (1e-2, 1e-1), (0.0, 0.3)
    theirs = [
        torch.optim.AdamW([w], lr=lr, weight_decay=d) for w, lr, d in zip(plain, rates, decays, strict=True)
    ]
    ours = GridAdamW(model, torch.tensor(rates), torch.tensor(decays))
    for step in range(5):
        target = torch.full((3, 4), float(step))
        (model.weight - target).square().sum().backward()
        ours.step(1.0)
        for weight, optimizer in zip(plain, theirs, strict=True):
            optimizer.zero_grad()
            (weight - target).square().sum().backward()
            optimizer.step()
    for g in range(2):
        torch.testing.assert_close(model.weight[g], plain[g], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["attentive", "ridge", "attentive, equal width", "ridge, equal width"])
def test_lvef_is_learned_from_a_known_feature_and_not_from_noise(kind: str) -> None:
    assert on_test(predictions(labelled(4.0), LVEF, kind), R2) > 0.8
    assert on_test(predictions(labelled(0.0), LVEF, kind), R2) < 0.3


@pytest.mark.parametrize("kind", ["ridge", "attentive"])
def test_a_swing_of_any_phase_is_read_over_time_and_not_from_the_flattened_grid(
    tmp_path: Path, kind: str
) -> None:
    rng = torch.Generator().manual_seed(0)
    count, slots = 240, 8
    size, phase = 1 + torch.rand(count, generator=rng), 6.3 * torch.rand(count, generator=rng)
    tokens = 0.1 * torch.randn(count, slots, 4, 8, generator=rng)
    turns = torch.arange(slots) * 6.2832 / slots
    tokens[:, :, 2, 3] += size[:, None] * torch.cos(turns + phase[:, None])
    features = Features(Tokens.of(tokens.flatten(1, 2)), tokens.mean((1, 2)), (slots, 2, 2), addresses(count))
    splits = np.array([("train", "train", "train", "val", "test")[i % 5] for i in range(count)])
    data = samples_of(features, 20 * size, splits)
    over_time = f"{kind}, over time"
    assert on_test(predictions(data, LVEF, kind), R2) < 0.3
    assert on_test(predictions(data, LVEF, over_time), R2) > 0.6
    readout, choice = fit_probe(data, LVEF, PROBES[over_time], CONFIG, 0)
    cell = Cell(LVEF, PROBES[over_time], EVERYWHERE, 1.0, 0, ())
    facts = BackboneFacts(backbone="b", weights="w", parameters=1, tokens=32, embed_dim=8)
    stored = StoredProbe(tmp_path)
    stored.save(readout, choice, cell, (), features.grid, facts)
    torch.testing.assert_close(stored.readout().outputs(data), readout.outputs(data))


@pytest.mark.parametrize("kind", ["attentive", "ridge"])
def test_classes_are_learned_from_a_known_feature(kind: str) -> None:
    assert on_test(predictions(labelled(4.0, ("A2C", "A4C")), VIEW, kind), ACCURACY) > 85


@pytest.mark.parametrize("kind", ["linear", "attentive", "ridge"])
def test_test_labels_choose_nothing(kind: str) -> None:
    data = labelled(1.0)
    shuffled = data.truth.copy()
    test = data.within(Split.TEST)
    shuffled[test] = shuffled[test[::-1]]
    one, other = predictions(data, LVEF, kind), predictions(replace(data, truth=shuffled), LVEF, kind)
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.truth != other.truth).any()


@pytest.mark.parametrize("kind", ["attentive", "ridge"])
def test_shuffled_samples_keep_their_own_predictions(kind: str) -> None:
    """Rows in another order are the same study; labels on other ids are not."""
    data = labelled(4.0)
    order = np.random.default_rng(0).permutation(240)
    readout, _ = fit_probe(data, LVEF, PROBES[kind], CONFIG, 0)
    mixed = data.select(order)
    one = average(readout.outputs(data), data)
    other = average(readout.outputs(mixed), mixed)
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.values, other.values, atol=1e-3)
    wrong = replace(data, items=data.items[order], patients=data.patients[order], truth=data.truth[order])
    assert on_test(predictions(replace(wrong, splits=data.splits[order]), LVEF, kind), R2) < 0.3


def test_ridge_equals_scikit_learn_s_on_the_flattened_grid() -> None:
    data = labelled(2.0)
    train = split_of(data, Split.TRAIN)
    readout, chosen = fit_ridge(data, LVEF)
    tokens = data.features.tokens[torch.arange(240)]
    x = standardiser_of(tokens[train])(tokens).flatten(1).numpy()
    inner = x[train] @ x[train].T
    model = Ridge(alpha=chosen["penalty"] * inner.diagonal().mean(), fit_intercept=False)
    truth = targets(data)
    centre = truth[train].mean()
    model.fit(x[train], (truth[train] - centre).numpy())
    made = readout.outputs(data)[:, 0].numpy()
    np.testing.assert_allclose(made, model.predict(x) + centre.item(), rtol=1e-4, atol=0.01)


def test_ridge_solves_its_smallest_penalty_where_many_clips_are_alike() -> None:
    count, along = 2000, torch.randn(2000, generator=torch.Generator().manual_seed(0))
    tokens = (along[:, None, None] + torch.zeros(count, 2, 4)).half()
    features = Features(Tokens.of(tokens), tokens.float().mean(1), (1, 1, 2), addresses(count))
    splits = np.array([["train", "train", "train", "val"][i % 4] for i in range(count)])
    data = samples_of(features, 55 + 10 * along, splits)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        readout, _ = fit_ridge(data, LVEF)
    torch.testing.assert_close(readout.outputs(data)[:, 0], targets(data), atol=0.1, rtol=0)


@pytest.mark.parametrize("classes", [(), ("one", "two", "three")])
def test_ridge_by_features_is_ridge_by_samples(
    classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, task = labelled(2.0, classes), VIEW if classes else LVEF
    few = Features(Tokens.of(data.features.tokens[torch.arange(240)][:, 6:8]), data.features.pooled,
                   (1, 1, 2), addresses(240))  # fmt: skip
    data = replace(data, features=few)
    assert len(split_of(data, Split.TRAIN)) > ridge_module.features_of(data) == 48
    narrow, chosen = fit_ridge(data, task)
    monkeypatch.setattr(ridge_module, "features_of", lambda data: 1000)
    wide, also = fit_ridge(data, task)
    assert chosen == also
    torch.testing.assert_close(narrow.outputs(data), wide.outputs(data), atol=1e-3, rtol=1e-3)


def test_ridge_over_slices_is_ridge_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled(2.0)
    whole = fit_ridge(data, LVEF)[0].outputs(data)
    monkeypatch.setattr(tokens_module, "COLUMN_BYTES", 4 * 240 * 24 * 5)
    sliced = fit_ridge(data, LVEF)[0].outputs(data)
    torch.testing.assert_close(whole, sliced, atol=1e-3, rtol=1e-4)


def test_a_standardiser_fitted_in_parts_is_the_one_fitted_at_once() -> None:
    data = labelled(1.0)
    train = split_of(data, Split.TRAIN)
    one, other = fit_standardiser(data.features.tokens, train), standardiser_of(data.features.tokens[train])
    torch.testing.assert_close(one.mean, other.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.std, other.std, atol=1e-4, rtol=1e-4)


def test_principal_axes_are_scikit_learn_s() -> None:
    data = labelled(8.0)
    train = split_of(data, Split.TRAIN)
    fitted = fit_standardiser(data.features.tokens, train)
    axes = principal_axes(data.features.tokens, train, fitted, 2)
    theirs = PCA(2).fit(fitted(data.features.tokens[train]).flatten(0, 1).numpy()).components_
    alike = np.abs(theirs @ axes.numpy())
    np.testing.assert_allclose(alike[0, 0], 1.0, atol=1e-3)


def test_the_constant_is_the_training_median_or_commonest_class() -> None:
    data = labelled(0.0)
    known = data.truth[data.within(Split.TRAIN)]
    assert constant_outputs(data, 2)[:, 0].tolist() == pytest.approx([np.median(known)] * 2)
    uneven = labelled(0.0, ("A2C", "A4C"))
    uneven.truth[:] = 1
    uneven.truth[:10] = 0
    assert set(constant_outputs(uneven, 240).argmax(1).tolist()) == {1}


def test_clips_of_a_study_are_averaged_before_they_are_scored() -> None:
    data = labelled(4.0)
    both = replace(data, items=np.array([f"s{i // 2}" for i in range(240)]))
    assert len(predictions(both, LVEF, "ridge").items) == 120
    assert len(predictions(data, LVEF, "ridge").items) == 240


def test_converged_training_is_told_from_training_cut_short() -> None:
    assert has_converged([10, 5, 4, 3.9, 3.9, 3.9, 3.9, 3.9], LVEF)
    assert not has_converged([10, 9, 8, 7, 6, 5, 4, 3], LVEF)


@pytest.mark.parametrize(("min_steps", "passes"), [(1, 2), (13, 3), (60, 10)])
def test_few_labels_are_not_also_few_steps(min_steps: int, passes: int) -> None:
    data = labelled(1.0)  # 168 training clips: six steps a pass
    config = replace(CONFIG, epochs=2, min_steps=min_steps)
    _, choice = fit_probe(data, LVEF, PROBES["linear"], config, 0)
    assert len(choice.history["train loss"]) == passes


def studies(seed: int = 0) -> FeatureSamples:
    """200 studies of two views of two clips, some absent; the label is the sum of what both views show."""
    rng = torch.Generator().manual_seed(seed)
    shown = torch.randn(200, 2, generator=rng)
    tokens = 0.3 * torch.randn(200, 2, 2, 8, 48, generator=rng)
    tokens[:, 0, :, :, 3] += shown[:, 0, None, None]
    tokens[:, 1, :, :, 4] += shown[:, 1, None, None]
    flat = tokens.reshape(800, 8, 48)
    features = Features(Tokens.of(flat.half()), flat.mean(1), (2, 2, 2), addresses(800))
    places = np.arange(800).reshape(200, 4)
    places[::9, 2:] = -1
    places[::11, :2] = np.where(places[::11, 2:] >= 0, -1, places[::11, :2])
    splits = np.array([(["train"] * 6 + ["val"] * 2 + ["test"] * 2)[i % 10] for i in range(200)])
    return samples_of(features, 30 + 5 * shown.sum(1), splits, places=places, views=2)


@pytest.mark.parametrize("kind", ["attentive", "attentive, no embeddings", "ridge"])
def test_a_study_probe_reads_its_views_together(kind: str) -> None:
    data = studies()
    both = on_test(predictions(data, RVSP, kind, STUDIES), R2)
    readout, _ = fit_probe(data, RVSP, PROBES[kind], STUDIES, 0)
    one = data.shown([0])
    alone = average(readout.outputs(one), one)
    assert both > 0.6 and both > on_test(alone, R2) + 0.15
    assert np.isfinite(alone.values).all() and len(one.truth) < len(data.truth)


@pytest.mark.parametrize("kind", ["attentive", "ridge", "attentive, late fusion"])
def test_what_stands_in_an_absent_slot_never_matters(kind: str) -> None:
    data = studies()
    data = data.separate() if "late" in kind else data
    hidden = data.shown([0])
    readout, _ = fit_probe(hidden, RVSP, PROBES[kind], STUDIES, 0)
    noisy = data.features.tokens.parts[0].copy().reshape(200, 2, 2, 8, 48)
    noisy[:, 1] = 1000.0
    other = replace(data.features, tokens=Tokens.of(torch.from_numpy(noisy.reshape(800, 8, 48))))
    everything = torch.arange(len(hidden.truth))
    if "late" not in kind:
        one = readout.outputs(hidden)
        torch.testing.assert_close(one, readout.outputs(replace(hidden, features=other)))
    assert (hidden.tokens(everything)[0][~hidden.tokens(everything)[1]] == 0).all()


def test_late_fusion_is_the_mean_of_one_probe_s_predictions() -> None:
    apart = studies().separate()
    readout, _ = fit_probe(apart, RVSP, PROBES["attentive, late fusion"], STUDIES, 0)
    outputs = readout.outputs(apart)
    made = average(outputs, apart)
    mine = outputs[torch.from_numpy(apart.items == made.items[5])]
    assert made.values[5] == pytest.approx(mine.mean().item(), rel=1e-5)
