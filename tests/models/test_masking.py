"""Claims about masks."""

from __future__ import annotations

import pytest
import torch

from echojepa.config import PAPER_MASKS, TIME_MASK, MaskConfig, TimeSplit
from echojepa.models.masking import equalise, inside_sector, sample_mask

GRID, LONG = (4, 12, 12), (8, 4, 4)


@pytest.mark.parametrize("config", PAPER_MASKS)
@pytest.mark.parametrize("seed", range(20))
def test_masks_are_disjoint_in_range_and_never_empty(config: MaskConfig, seed: int) -> None:
    mask = sample_mask(config, GRID, 6, torch.Generator().manual_seed(seed))
    for context, targets in zip(mask.context_ids.tolist(), mask.target_ids.tolist(), strict=True):
        assert context and targets
        assert not set(context) & set(targets)
        assert len(set(context)) == len(context) and len(set(targets)) == len(targets)
        assert min(context + targets) >= 0 and max(context + targets) < 4 * 12 * 12


def test_masks_are_reproducible() -> None:
    one, same, other = (
        sample_mask(PAPER_MASKS[0], GRID, 4, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(one.context_ids, same.context_ids) and torch.equal(one.target_ids, same.target_ids)
    assert one.target_ids.shape != other.target_ids.shape or not torch.equal(one.target_ids, other.target_ids)


def test_a_single_clip_is_hidden_through_its_whole_length() -> None:
    mask = sample_mask(PAPER_MASKS[1], GRID, 1, torch.Generator().manual_seed(0))
    per_time = mask.target_ids.view(4, -1) % 144
    assert all(torch.equal(per_time[0], positions) for positions in per_time)


def test_at_least_a_tenth_is_visible_and_redraws_are_counted() -> None:
    config, generator = MaskConfig(2, 0.70), torch.Generator().manual_seed(0)
    masks = [sample_mask(config, GRID, 1, generator) for _ in range(200)]
    assert min(mask.context_ids.shape[1] for mask in masks) >= 0.1 * 576
    assert sum(mask.redraws for mask in masks) > 0


def test_an_impossible_mask_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="smaller or fewer blocks"):
        sample_mask(MaskConfig(40, 0.70), GRID, 1, torch.Generator().manual_seed(0))


def test_equalising_starves_no_frame() -> None:
    """Cutting off the last ids would empty the last time step; a random choice keeps all alike."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.arange(576), torch.arange(288)]
    kept = torch.stack([equalise(rows, generator)[0] // 144 for _ in range(200)])
    share = torch.bincount(kept.flatten(), minlength=4) / kept.numel()
    assert share.min() > 0.24


@pytest.mark.parametrize("seed", range(8))
def test_a_split_in_time_shows_one_part_whole_and_infers_another_across_a_gap(seed: int) -> None:
    mask = sample_mask(TIME_MASK, LONG, 5, torch.Generator().manual_seed(seed))
    for context, targets in zip(mask.context_ids, mask.target_ids, strict=True):
        seen, later = context.unique() // 16, targets.unique() // 16
        assert (context.shape, targets.shape) == ((48,), (48,))
        pair = (sorted(set(seen.tolist())), sorted(set(later.tolist())))
        assert pair in (([0, 1, 2], [4, 5, 6]), ([5, 6, 7], [1, 2, 3]))


def test_a_split_in_time_goes_both_ways_by_a_coin_for_each_clip() -> None:
    mask = sample_mask(TIME_MASK, LONG, 400, torch.Generator().manual_seed(0))
    forwards = (mask.context_ids[:, 0] < mask.target_ids[:, 0]).float().mean().item()
    assert 0.42 < forwards < 0.58


def test_blocks_of_a_split_in_time_are_inferred_in_its_later_part_alone() -> None:
    config = MaskConfig(blocks=1, scale=0.25, time=TimeSplit(0.5, 0.0, 0.5))
    mask = sample_mask(config, LONG, 1, torch.Generator().manual_seed(0))
    assert mask.context_ids.shape[1] == 4 * 16
    places = mask.target_ids.view(4, -1) % 16
    assert 0 < places.shape[1] < 16 and (places == places[:1]).all()


def test_splits_in_time_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="sum to at most 1"):
        TimeSplit(0.6, 0.1, 0.4)
    with pytest.raises(ValueError, match="give more frames"):
        sample_mask(TIME_MASK, (1, 4, 4), 1, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="also 1 with a split in time"):
        MaskConfig(blocks=0, scale=1.0)


def test_targets_inside_the_sector_are_as_many_in_each_clip_and_what_is_seen_stays() -> None:
    mask = sample_mask(PAPER_MASKS[0], LONG, 3, torch.Generator().manual_seed(0))
    inside = torch.rand(3, 128, generator=torch.Generator().manual_seed(1)) < torch.tensor(
        [[0.9], [0.3], [0.0]]
    )
    kept = inside_sector(mask, inside, torch.Generator().manual_seed(2))
    fewest = min(inside[b][mask.target_ids[b]].sum() for b in range(2))
    assert kept.target_ids.shape == (3, fewest) and torch.equal(kept.context_ids, mask.context_ids)
    for b in range(2):
        assert inside[b][kept.target_ids[b]].all()
    for b in range(3):
        assert set(kept.target_ids[b].tolist()) <= set(mask.target_ids[b].tolist())
        assert torch.equal(kept.target_ids[b], kept.target_ids[b].sort().values)
