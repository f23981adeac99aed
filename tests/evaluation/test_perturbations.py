"""Claims about damage: the formulas are the published ones, and every backbone is shown the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from usaugment.albumentations.depth_attenuation import DepthAttenuation
from usaugment.albumentations.gaussian_shadow import GaussianShadow
from usaugment.albumentations.haze_artifact import HazeArtifact

from echojepa.errors import UserError
from echojepa.evaluation.perturbations import (
    PERTURBATIONS,
    Perturbation,
    column_shadow,
    exponential_attenuation,
    haze_ring,
    linear_attenuation,
    spot_shadow,
)

SIDE, FRAMES = 96, 12
GENERATOR = torch.Generator().manual_seed(0)
Y, X = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
SECTOR = (torch.atan2((X - SIDE / 2).abs(), Y + 1.0) < 0.7) & (torch.hypot(X - SIDE / 2, Y.float()) < 90)
CLIP = torch.randint(1, 250, (1, FRAMES, SIDE, SIDE), generator=GENERATOR, dtype=torch.uint8) * SECTOR
EVERY = pytest.mark.parametrize("kind", PERTURBATIONS.values(), ids=PERTURBATIONS)
WHOLE = np.ones((80, 60))
IMAGE = np.random.default_rng(0).uniform(0, 1, (80, 60))


def damaged(kind: Perturbation, severity: int, clip: torch.Tensor = CLIP, loop: str = "loop") -> torch.Tensor:
    return kind.apply(clip, SECTOR, severity, seed=3, loop_id=loop)


@pytest.mark.parametrize("rate", PERTURBATIONS["depth-code"].levels)
def test_exponential_attenuation_is_usaugment_s(rate: float) -> None:
    theirs = DepthAttenuation(attenuation_rate=rate, p=1.0).apply(IMAGE, scan_mask=WHOLE)
    ours = IMAGE * exponential_attenuation(80, 60, rate).numpy()
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("level", PERTURBATIONS["shadow-code"].levels)
def test_the_spot_of_shadow_is_usaugment_s(monkeypatch, level: float) -> None:
    sigma = {0.4: 0.15, 0.6: 0.20, 0.8: 0.25}[level]  # the presets of the released code
    places = iter([17, 33])
    monkeypatch.setattr(np.random, "choice", lambda _: next(places))
    theirs = GaussianShadow(strength=level, sigma_x=sigma, sigma_y=sigma, p=1.0).apply(IMAGE, scan_mask=WHOLE)
    ours = IMAGE * spot_shadow((80, 60), (33, 17), level, 0.05 + level / 4).numpy()
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_haze_is_usaugment_s_but_for_its_grain(monkeypatch) -> None:
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: np.ones(size))
    theirs = HazeArtifact(radius=0.4, sigma=0.1, p=1.0).apply(IMAGE, scan_mask=WHOLE)
    assert np.clip(IMAGE + 0.5 * haze_ring(80, 60, 0.4, 0.1).numpy(), 0, 1) == pytest.approx(theirs, abs=1e-6)


def test_the_paper_s_main_text_forms_are_their_formulas_point_by_point() -> None:
    rows, columns = linear_attenuation(80, 0.7), column_shadow(60, 20.0, 12.0)
    for y in (0, 13, 79):
        assert rows[y, 0] == pytest.approx(max(0, 1 - 0.7 * y / 80))
    for x in (0, 20, 59):
        assert columns[0, x] == pytest.approx(1 - np.exp(-((x - 20) ** 2) / (2 * 12**2)))
    white = torch.full((1, 2, 80, 60), 200, dtype=torch.uint8)
    seen = PERTURBATIONS["depth-paper"].apply(white, torch.ones(80, 60), 3, seed=0, loop_id="a")
    assert (seen[0, 0, :, 5].float() - (200 * rows[:, 0])).abs().max() <= 0.5


@EVERY
def test_severity_nothing_is_the_clip_bit_for_bit(kind: Perturbation) -> None:
    assert torch.equal(damaged(kind, 0), CLIP)


@EVERY
def test_damage_is_a_function_of_seed_kind_and_loop_alone(kind: Perturbation) -> None:
    before = CLIP.clone()
    torch.manual_seed(1)
    first = damaged(kind, 1)
    torch.manual_seed(2)
    assert torch.equal(first, damaged(kind, 1)) and torch.equal(CLIP, before)
    assert first.dtype == torch.uint8 and first.shape == CLIP.shape and not torch.equal(first, CLIP)
    if kind.name not in ("depth-paper", "depth-code", "gain-high", "gain-low"):
        assert not torch.equal(first, damaged(kind, 1, loop="another loop"))
        assert not torch.equal(first, kind.apply(CLIP, SECTOR, 1, seed=4, loop_id="loop"))


@EVERY
def test_channels_of_a_frame_get_the_same_damage_and_a_bare_clip_too(kind: Perturbation) -> None:
    colour = damaged(kind, 1, CLIP.expand(3, -1, -1, -1).contiguous())
    assert torch.equal(colour[0], colour[2]) and torch.equal(colour[:1], damaged(kind, 1))
    assert torch.equal(damaged(kind, 1, CLIP[0]), damaged(kind, 1)[0])


@EVERY
def test_nothing_lights_up_outside_the_sector(kind: Perturbation) -> None:
    if kind.name == "crop":
        return  # a crop moves the sector itself
    for severity in range(1, len(kind.levels) + 1):
        assert damaged(kind, severity)[..., ~SECTOR].max() == 0


@EVERY
def test_a_higher_severity_is_farther_from_the_clip(kind: Perturbation) -> None:
    smooth = 60 + 40 * torch.sin(X / 9) * torch.cos(Y / 7) + 20 * torch.sin(torch.arange(12.0))[:, None, None]
    clip = smooth.to(torch.uint8)[None] * SECTOR
    moved = [
        np.mean([(damaged(kind, s, clip, f"{i}").float() - clip.float()).abs().mean() for i in range(8)])
        for s in range(len(kind.levels) + 1)
    ]
    assert (np.diff(moved) > 0).all(), moved


def test_severities_of_a_kind_share_their_draws() -> None:
    """The same shadow, stronger, and lost frames that stay lost: a curve is of one thing."""
    white = torch.full((1, FRAMES, SIDE, SIDE), 200, dtype=torch.uint8)
    spots = [damaged(PERTURBATIONS["shadow-code"], s, white)[0, 0].flatten().argmin() for s in (1, 2, 3)]
    assert len({int(spot) for spot in spots}) == 1
    numbered = torch.arange(FRAMES, dtype=torch.uint8)[:, None, None].expand(FRAMES, SIDE, SIDE)
    seen = [set(damaged(PERTURBATIONS["frame-loss"], s, numbered).unique().tolist()) for s in (1, 2, 3)]
    assert seen[0] > seen[1] > seen[2] >= {0}


def test_motion_checks_take_motion_and_leave_pictures() -> None:
    numbered = torch.arange(FRAMES, dtype=torch.uint8)[:, None, None].expand(FRAMES, SIDE, SIDE)
    shuffled = damaged(PERTURBATIONS["time-shuffle"], 1, numbered)[:, 0, 0]
    assert sorted(shuffled.tolist()) == list(range(FRAMES)) != shuffled.tolist()
    single = damaged(PERTURBATIONS["single-frame"], 1, CLIP)
    assert (single == single[:, :1]).all() and any(
        torch.equal(single[:, 0], CLIP[:, t]) for t in range(FRAMES)
    )


def test_noise_is_as_coarse_at_twice_the_resolution() -> None:
    """A resize to the models' size must not average it away."""
    rms = {}
    for side in (112, 448):
        flat = torch.full((1, 4, side, side), 100, dtype=torch.uint8)
        noisy = PERTURBATIONS["speckle"].apply(flat, torch.ones(side, side), 2, seed=0, loop_id="a").float()
        rms[side] = float(torch.nn.functional.adaptive_avg_pool2d(noisy, 112).std())
    assert rms[448] == pytest.approx(rms[112], rel=0.03)


@EVERY
def test_clips_that_are_not_uint8_and_severities_that_there_are_not_are_refused(kind: Perturbation) -> None:
    with pytest.raises(TypeError, match="uint8"):
        kind.apply(CLIP.float(), SECTOR, 1, seed=0, loop_id="a")
    with pytest.raises(UserError, match="severities 0 to"):
        kind.apply(CLIP, SECTOR, 4, seed=0, loop_id="a")
    with pytest.raises(ValueError, match="sector"):
        kind.apply(CLIP, SECTOR[1:], 1, seed=0, loop_id="a")
