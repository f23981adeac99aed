"""Claims about probes: what they can learn, what they cannot, and that the test set chooses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import Ridge

from echojepa.config import ProbeConfig
from echojepa.evaluation.features import Features
from echojepa.evaluation.metrics import ACCURACY, R2
from echojepa.evaluation.probing import Labelled, attentive_probe, constant_probe, gram, ridge_probe, settled
from echojepa.models.grid import GridAdamW
from echojepa.models.probe import Standardiser
from echojepa.tasks import LVEF, VIEW
from echojepa.vocabulary import Split

GRID = (2, 4, 4)
CONFIG = ProbeConfig(Path("d"), Path("o"), (), epochs=30, batch_size=16, learning_rates=(1e-3, 3e-3))


def labelled(signal: float, classes: tuple[str, ...] = (), seed: int = 0) -> Labelled:
    """400 clips of noise tokens; the truth moves one channel of the tokens in one corner of the grid."""
    rng = torch.Generator().manual_seed(seed)
    count, tokens = 400, torch.randn(400, 32, 48, generator=rng)
    truth = (
        torch.randint(len(classes), (count,), generator=rng)
        if classes
        else 55 + 12 * torch.randn(count, generator=rng)
    )
    where = torch.zeros(32)
    where[[3, 7, 19, 23]] = 1.0
    size = (truth.float() - truth.float().mean()) / truth.float().std()
    tokens[:, :, 5] += signal * size[:, None] * where
    patients = np.array([f"p{i // 2}" for i in range(count)])
    splits = np.array([(["train"] * 7 + ["val"] * 2 + ["test"])[(i // 2) % 10] for i in range(count)])
    features = Features(tokens.half(), tokens.mean(1), GRID, torch.arange(count))
    return Labelled(features, truth, np.array([f"i{i}" for i in range(count)]), patients, splits, classes)


def on_test(predictions, metric) -> float:
    chosen = predictions.splits == Split.TEST
    return metric(predictions.truth[chosen], predictions.prediction[chosen])


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


def test_lvef_is_learned_from_a_known_feature_and_not_from_noise() -> None:
    for probe in (lambda d: attentive_probe(d, LVEF, CONFIG)[0], lambda d: ridge_probe(d, LVEF)):
        assert on_test(probe(labelled(4.0)).predictions, R2) > 0.8
        assert on_test(probe(labelled(0.0)).predictions, R2) < 0.3


def test_classes_are_learned_from_a_known_feature() -> None:
    data = labelled(4.0, ("A2C", "A4C"))
    assert on_test(attentive_probe(data, VIEW, CONFIG)[0].predictions, ACCURACY) > 85
    assert on_test(ridge_probe(data, VIEW).predictions, ACCURACY) > 85


def test_test_labels_choose_nothing() -> None:
    data = labelled(1.0)
    shuffled = data.truth.clone()
    test = data.within(Split.TEST)
    shuffled[test] = shuffled[test.flip(0)]
    for probe in (lambda d: attentive_probe(d, LVEF, CONFIG)[0], lambda d: ridge_probe(d, LVEF)):
        one, other = probe(data), probe(replace(data, truth=shuffled))
        assert one.chosen == other.chosen
        np.testing.assert_array_equal(one.predictions.prediction, other.predictions.prediction)


def test_ridge_equals_scikit_learn_s_on_the_flattened_grid() -> None:
    data = labelled(2.0)
    result = ridge_probe(data, LVEF)
    train = data.within(Split.TRAIN)
    flat = torch.stack(
        [Standardiser.fit(data.features.tokens[train])(t[None])[0].half() for t in data.features.tokens]
    )
    x = flat.float().flatten(1)
    scale = gram(flat.flatten(1), flat.flatten(1))[train, train].mean().item()
    model = Ridge(alpha=result.chosen["penalty"] * scale, fit_intercept=False)
    centre = data.truth[train].mean()
    model.fit(x[train].numpy(), (data.truth[train] - centre).numpy())
    expected = model.predict(x.numpy()) + centre.item()
    order = np.argsort(data.items)
    np.testing.assert_allclose(result.predictions.prediction, expected[order], rtol=1e-3, atol=0.05)


def test_the_constant_is_the_training_median_or_commonest_class() -> None:
    data = labelled(0.0)
    median = float(data.truth[data.within(Split.TRAIN)].median())
    value = constant_probe(data, LVEF).chosen["value"]
    assert (
        abs(value - np.median(data.truth[data.within(Split.TRAIN)].numpy())) < 1e-4
        and abs(value - median) < 2
    )
    uneven = labelled(0.0, ("A2C", "A4C"))
    uneven.truth[:] = 1
    uneven.truth[:10] = 0
    assert set(constant_probe(uneven, VIEW).predictions.prediction) == {1.0}


def test_clips_of_a_study_are_averaged_before_they_are_scored() -> None:
    data = labelled(4.0)
    both = replace(data, items=np.array([f"s{i // 2}" for i in range(400)]))
    single, averaged = ridge_probe(data, LVEF).predictions, ridge_probe(both, LVEF).predictions
    assert len(averaged.items) == 200 and len(single.items) == 400


def test_settled_training_is_told_from_training_cut_short() -> None:
    assert settled([10, 5, 4, 3.9, 3.9, 3.9, 3.9, 3.9], LVEF)
    assert not settled([10, 9, 8, 7, 6, 5, 4, 3], LVEF)
