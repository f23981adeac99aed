"""Claims about schedules and collapse monitors."""

from __future__ import annotations

import pytest
import torch

from echojepa.config import ConfigError, OptimConfig
from echojepa.training.monitors import FeatureHealth, cheap_probe, feature_health, warnings_of
from echojepa.training.schedules import ema_momentum, learning_rate

OPTIM = OptimConfig(lr=1e-3, warmup=0.1, cooldown=0.2, ema_start=0.9, ema_end=0.99)


def test_learning_rate_rises_holds_and_falls() -> None:
    rates = [learning_rate(OPTIM, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == rates[79] == pytest.approx(1e-3)
    assert rates[:10] == sorted(rates[:10]) and rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3 / 20)


def test_momentum_ramps_between_its_ends() -> None:
    assert ema_momentum(OPTIM, 0, 100) == 0.9
    assert ema_momentum(OPTIM, 99, 100) == pytest.approx(0.99)


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(ConfigError, match="warmup"):
        OptimConfig(warmup=0.6, cooldown=0.6)
    with pytest.raises(ConfigError, match="EMA"):
        OptimConfig(ema_start=0.999, ema_end=0.9)


def test_healthy_features_fill_the_width_and_collapsed_ones_one_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    healthy = torch.randn(64, 10, 32, generator=generator)
    one_direction = torch.randn(64, 10, 1, generator=generator) * torch.randn(32, generator=generator)
    good, bad = feature_health(healthy), feature_health(one_direction)
    assert good.effective_rank > 30 and good.cosine < 0.2
    assert bad.effective_rank < 1.5 and bad.cosine > 0.99


def test_the_mean_of_each_position_does_not_hide_or_fake_a_collapse() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(64, 10, 32, generator=generator)
    shifted = features + 100 * torch.randn(10, 32, generator=generator)
    assert feature_health(shifted).effective_rank == pytest.approx(
        feature_health(features).effective_rank, rel=1e-3
    )


def test_effective_rank_equals_its_definition() -> None:
    features = torch.randn(20, 3, 8, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9)
    centred = (features - features.mean(0)).flatten(0, 1)
    share = torch.linalg.svdvals(centred)
    share = share / share.sum()
    expected = torch.exp(-(share * share.log()).sum()).item()
    assert feature_health(features).effective_rank == pytest.approx(expected, rel=1e-3)


def test_collapse_is_said_in_words_and_health_is_silent() -> None:
    first = FeatureHealth(40.0, 1.0, 0.1, 0.5)
    assert warnings_of(FeatureHealth(35.0, 0.9, 0.15, 0.5), first) == []
    assert len(warnings_of(FeatureHealth(2.0, 0.01, 0.95, 0.01), first)) == 3


def test_cheap_probe_tells_classes_from_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = ["a", "b", "c"] * 20
    groups = [str(i // 3) for i in range(60)]
    noise = torch.randn(60, 4, 16, generator=generator)
    signal = noise + 3 * torch.eye(16)[[ord(x) - 97 for x in labels]].unsqueeze(1)
    assert cheap_probe(signal, labels, groups) > 0.95
    assert cheap_probe(noise, labels, groups) < 0.6
