"""Claims about what a loss is worth, each on an objective whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echojepa.config import PAPER_MASKS, TIME_MASK, InputSpec, MaskConfig
from echojepa.models.masking import Mask, sample_mask, touches_sector
from echojepa.training.foresight import (
    Foresight,
    dumb_predictions,
    measure_foresight,
    nearest_visible,
    slots_apart,
)

SPEC = InputSpec(size=8, frames=8, seconds=1.0)
GRID = (8, 4, 4)
AREA = 16


class Toy(nn.Module):
    """Targets are given; the predictor knows `known` of them. Tokens are 2 x 2 pixels of one frame."""

    def __init__(self, targets: Tensor, known: Tensor, order_matters: bool = False) -> None:
        super().__init__()
        self.everything, self.known, self.order_matters = targets, known, order_matters
        self.grid = GRID
        self.first: Tensor | None = None

    @property
    def encoder(self) -> Any:
        return self

    def targets(self, clips: Tensor, masks: list[Mask], labels: None = None) -> list[Tensor]:
        assert not self.training
        self.first = clips
        return [self.everything for _ in masks]

    def forward(self, clips: Tensor, ids: Tensor) -> Tensor:
        shuffled = self.first is not None and not torch.equal(clips, self.first)
        return torch.full((len(clips), 1, 1), 5.0 if shuffled and self.order_matters else 0.0)

    def predictor(self, context: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        ids = target_ids.unsqueeze(-1).expand(-1, -1, self.known.shape[-1])
        return self.known.gather(1, ids) + context

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return (predicted - targets).abs().mean(-1)


def clips_of(batch: int) -> Tensor:
    """The left half of the picture is black, as outside a sector."""
    draws = torch.Generator().manual_seed(0)
    clips = torch.randint(1, 256, (batch, 3, 8, 8, 8), dtype=torch.uint8, generator=draws)
    clips[..., :4] = 0
    return clips


def measure(model: Toy, masks: tuple[MaskConfig, ...] = PAPER_MASKS) -> Foresight:
    draws = torch.Generator().manual_seed(1)
    batch = len(model.everything)
    drawn = [sample_mask(mask, GRID, batch, draws) for mask in masks]
    order = torch.randperm(8, generator=draws)
    return measure_foresight(model, SPEC, clips_of(batch), drawn, order)  # pyright: ignore[reportArgumentType]


def noise(batch: int = 6, width: int = 5) -> Tensor:
    return torch.randn(batch, 128, width, generator=torch.Generator().manual_seed(2))


def test_a_predictor_that_gives_the_positions_mean_has_no_gain_and_one_that_knows_has_all() -> None:
    targets = noise() + 3 * noise(1)
    others = (targets.sum(0) - targets) / 5
    assert measure(Toy(targets, others)).gain == pytest.approx(0, abs=1e-5)
    found = measure(Toy(targets, targets))
    assert found.gain == 1 and found.loss == 0 and found.gains == (1, 1)
    assert min(found.dumb.values()) == found.dumb["position"] > 0


def test_what_is_fixed_in_a_clip_is_found_by_the_clips_mean_and_what_is_near_by_the_nearest() -> None:
    fixed = noise()[:, :1].expand(-1, 128, -1)
    assert measure(Toy(fixed, fixed)).dumb["clip"] == pytest.approx(0, abs=1e-6)
    by_place = noise()[:, :16].repeat(1, 8, 1)
    found = measure(Toy(by_place, by_place), (TIME_MASK,))
    assert found.dumb["nearest"] == pytest.approx(0, abs=1e-6)
    assert found.dumb["clip"] > 0.5 and found.dumb["position"] > 0.5


def test_gains_are_told_apart_by_mask_type() -> None:
    """A place that is seen at another time is known from there; one that is hidden throughout is not."""
    by_place = noise()[:, :16].repeat(1, 8, 1)
    found = measure(Toy(by_place, by_place + 1), (PAPER_MASKS[1], TIME_MASK))
    assert found.gains[0] > -1 > -1e6 > found.gains[1]


def test_losses_are_told_apart_by_sector_and_by_slots() -> None:
    targets = torch.zeros(4, 128, 3)
    columns, slots = torch.arange(128) % 4, torch.arange(128) // AREA
    known = torch.where(columns >= 2, 1.0, 4.0).view(1, 128, 1).expand(4, -1, 3)
    found = measure(Toy(targets, known))
    assert (found.inside, found.outside) == (pytest.approx(1), pytest.approx(4))
    assert list(found.by_slots) == ["0"]
    late = ((slots - 3.5).abs() + 0.5).view(1, 128, 1).expand(4, -1, 3)  # both ways alike: 4 3 2 1 1 2 3 4
    found = measure(Toy(targets, late), (TIME_MASK,))
    assert list(found.by_slots) == ["2", "3", "4"]
    assert [found.by_slots[key] for key in ("2", "3", "4")] == pytest.approx([1, 2, 3])


def test_shuffled_frames_cost_what_knows_order_and_nothing_else() -> None:
    targets = noise()
    assert measure(Toy(targets, targets * 0)).shuffle_cost == 0
    assert measure(Toy(targets, targets * 0, order_matters=True)).shuffle_cost > 1


def test_ids_of_the_nearest_visible_token_and_slots_between_equal_a_plain_search() -> None:
    mask = sample_mask(TIME_MASK, GRID, 3, torch.Generator().manual_seed(5))
    nearest, apart = nearest_visible(mask, GRID), slots_apart(mask, GRID)

    def place(token: int) -> tuple[int, int, int]:
        return token // AREA, token // 4 % 4, token % 4

    for b, m in ((0, 0), (1, 20), (2, 47)):
        target = place(int(mask.target_ids[b, m]))
        away = [
            sum((x - y) ** 2 for x, y in zip(target, place(int(c)), strict=True)) for c in mask.context_ids[b]
        ]
        found = place(int(nearest[b, m]))
        assert sum((x - y) ** 2 for x, y in zip(target, found, strict=True)) == min(away)
        assert apart[b, m] == min(abs(target[0] - place(int(c))[0]) for c in mask.context_ids[b])


def test_the_positions_mean_is_over_the_other_clips() -> None:
    targets = noise(3)
    mask = sample_mask(PAPER_MASKS[0], GRID, 3, torch.Generator().manual_seed(0))
    mean = dumb_predictions(targets, mask, GRID)["position"]
    torch.testing.assert_close(mean[1, 4], (targets[0] + targets[2])[mask.target_ids[1, 4]] / 2)


def test_a_token_touches_the_sector_where_any_of_its_pixels_is_lit_in_any_frame() -> None:
    clips = torch.zeros(1, 3, 8, 8, 8, dtype=torch.uint8)
    clips[0, 1, 5, 3, 6] = 9
    inside = touches_sector(clips, GRID).view(8, 4, 4)
    assert inside[:, 1, 3].all() and inside.sum() == 8
