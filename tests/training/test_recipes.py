"""Claims about recipes: published numbers, matched compute, and what a run can start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echojepa.config import TUBE_MASK, Architecture, InputSpec, PretrainConfig
from echojepa.models.building import build_objective
from echojepa.models.jepa import JEPA
from echojepa.models.masking import sample_mask
from echojepa.progress import quiet
from echojepa.recipes import (
    RECIPES,
    cooldown,
    cooldown_g,
    echojepa_g,
    echojepa_l,
    smoke,
    videomae_l,
)
from echojepa.recipes.published import MATCHED_FLOPS
from echojepa.training import rotation
from echojepa.training import start as start_module
from echojepa.training.pretrain import pretrain
from echojepa.training.schedules import learning_rate
from echojepa.training.start import Start, read_start, take_start
from echojepa.weights.folder import load_weights
from echojepa.weights.tensors import CheckpointError

DATA, OUT = Path("data"), Path("out")


def rates(config: PretrainConfig, *steps: int) -> list[float]:
    return [learning_rate(config.optim, step, config.steps) for step in steps]


def test_the_published_schedules_come_out() -> None:
    """research: released configs. L 1.75e-4 after 12,000 steps; G 1.094e-4 after 1,500; cooldown to 1e-6."""
    assert rates(echojepa_l(DATA, OUT), 11_999, 71_999) == pytest.approx([1.75e-4, 1.75e-4])
    assert rates(echojepa_l(DATA, OUT), 5_999)[0] == pytest.approx(1.75e-4 / 2)
    assert rates(echojepa_g(DATA, OUT), 1_499, 83_999) == pytest.approx([1.094e-4, 1.094e-4], rel=1e-3)
    assert rates(cooldown(DATA, OUT), 0, 24_000) == pytest.approx([1.75e-4, 1e-6])
    assert rates(cooldown_g(DATA, OUT), 0, 24_300) == pytest.approx([5.468e-5, 3.258e-5], rel=1e-3)


def test_videomaes_rate_is_its_own_rules_and_not_the_published_hundred_and_seventieth() -> None:
    assert videomae_l(DATA, OUT).optim.lr == pytest.approx(1.5e-4 * 1024 / 256)
    assert videomae_l(DATA, OUT).optim.lr / 3.5e-6 == pytest.approx(170, rel=0.02)


def mean_step(config: PretrainConfig, draws: int) -> float:
    """Operations of a step, by `models/flops`; the model has no storage."""
    with torch.device("meta"):
        model = build_objective(config)
    generator = torch.Generator().manual_seed(3)
    masks = [
        [sample_mask(m, model.encoder.grid, config.batch_size, generator) for m in config.masks]
        for _ in range(draws)
    ]
    return sum(model.flops(drawn) for drawn in masks) * config.batch_size / draws


def test_the_baselines_budget_is_the_arithmetic_of_the_whole_jepa_run() -> None:
    steps = echojepa_l(DATA, OUT).steps + cooldown(DATA, OUT).steps
    assert mean_step(echojepa_l(DATA, OUT), 4) * steps == pytest.approx(MATCHED_FLOPS, rel=0.05)
    assert videomae_l(DATA, OUT).steps > MATCHED_FLOPS / mean_step(videomae_l(DATA, OUT), 1)


@pytest.mark.parametrize("name", RECIPES)
def test_a_docstring_tells_what_the_recipe_needs(name: str) -> None:
    text = RECIPES[name].__doc__ or ""
    if name != "smoke":
        papers = ("arXiv 2602.02603", "arXiv 2203.12602", "arXiv 2410.09704", "doi 10.1001/jama.2025.8731")
        assert any(paper in text for paper in papers)
    for word in ("Hardware: ", "Hours: ", "Loss: ", f"echojepa pretrain {name} --data "):
        assert word in text, word


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    recipe = smoke(dataset, tmp_path_factory.mktemp("run"))
    config = replace(recipe, spec=InputSpec(64, 2, 0.4), batch_size=2, steps=2, monitor_every=9)
    pretrain(config, quiet)
    return config


def test_a_cooldown_takes_every_network_of_a_run_at_another_resolution_and_length(
    finished: PretrainConfig, tmp_path: Path
) -> None:
    found = rotation.find(finished.out).path
    assert found
    kept = rotation.read(found, "model.")
    model = build_objective(replace(finished, spec=InputSpec(96, 4, 0.8), seed=5))
    take_start(model, read_start(finished.out), finished.architecture)
    names = dict(model.named_parameters())
    assert {f"model.{name}" for name in names} == kept.keys() and model.encoder.grid == (2, 12, 12)
    assert all(torch.equal(value, kept[f"model.{name}"]) for name, value in names.items())
    assert not torch.equal(names["encoder.norm.bias"], names["target_encoder.norm.bias"])
    optim = replace(finished.optim, warmup=0.0, cooldown=1.0)
    end = replace(finished, spec=InputSpec(96, 4, 0.8), optim=optim, start=finished.out, out=tmp_path)
    pretrain(end, quiet)
    assert load_weights(tmp_path).spec.size == 96


def test_a_v_jepa_2_file_gives_encoder_target_encoder_and_predictor(
    finished: PretrainConfig, tmp_path: Path
) -> None:
    """In Meta's layout, with ten mask tokens of which the first is used."""
    source = build_objective(replace(finished, seed=9))
    assert isinstance(source, JEPA)
    with torch.no_grad():
        source.target_encoder.norm.bias.add_(1.0)
        source.predictor.mask_tokens[0].add_(2.0)
    prefix = "module.backbone."
    parts = {n: {prefix + k: v for k, v in getattr(source, n).state_dict().items()}
             for n in ("encoder", "target_encoder", "predictor")}  # fmt: skip
    for number in range(1, 10):
        parts["predictor"][f"{prefix}mask_tokens.{number}"] = torch.zeros(1, 1, finished.predictor_width)
    torch.save(parts, tmp_path / "vit.pt")
    model = build_objective(finished)
    take_start(model, read_start(tmp_path / "vit.pt"), finished.architecture)
    for (name, found), expected in zip(model.named_parameters(), source.parameters(), strict=True):
        assert torch.equal(found, expected), name


def test_weights_that_do_not_fit_are_refused_in_words(finished: PretrainConfig, tmp_path: Path) -> None:
    other = build_objective(replace(finished, predictor_width=64, predictor_heads=2))
    with pytest.raises(CheckpointError, match=r"predictor of .* does not fit"):
        take_start(other, read_start(finished.out), finished.architecture)
    with pytest.raises(CheckpointError, match="set the run's --architecture"):
        take_start(other, read_start(finished.out), Architecture("tiny", patch=8))
    (tmp_path / rotation.FOLDER).mkdir()
    with pytest.raises(CheckpointError, match="has no checkpoint to start from"):
        read_start(tmp_path)


def test_a_predictor_of_embeddings_is_no_start_for_pixels(finished: PretrainConfig, tmp_path: Path) -> None:
    config = replace(finished, objective="videomae", masks=(TUBE_MASK,), start=finished.out, out=tmp_path)
    with pytest.raises(CheckpointError, match="predictor of"):
        pretrain(config, quiet)


def test_a_start_is_read_once_and_a_resumed_run_goes_on_from_its_own(
    finished: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> Start:
        raise AssertionError("the start was read again")

    config = replace(finished, start=finished.out, out=tmp_path)
    first = pretrain(config, quiet)
    monkeypatch.setattr(start_module, "read_start", gone)
    assert pretrain(config, quiet) == first


def test_a_run_from_python_starts_where_its_config_says(finished: PretrainConfig, tmp_path: Path) -> None:
    """At a learning rate of next to nothing it ends where it started, and not at the weights of its seed."""
    still = replace(finished, seed=5, steps=1, optim=replace(finished.optim, lr=1e-12), start=finished.out)
    pretrain(replace(still, out=tmp_path / "started"), quiet)
    pretrain(replace(still, out=tmp_path / "random", start=None), quiet)
    started, random, source = (
        load_weights(run) for run in (tmp_path / "started", tmp_path / "random", finished.out)
    )
    for name, tensor in source.encoder.items():
        torch.testing.assert_close(started.encoder[name], tensor, rtol=0, atol=1e-5)
    moved = "blocks.0.mlp.fc1.weight"
    assert (random.encoder[moved] - source.encoder[moved]).abs().max() > 1e-2
    torch.testing.assert_close(
        started.predictor["predictor_proj.weight"], source.predictor["predictor_proj.weight"]
    )
