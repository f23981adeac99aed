"""What a run's loss is worth: compared with trivial predictors, by place and time, with shuffled frames.

A falling loss means little: a JEPA's targets move, and much of them is the same in every clip or in every
frame of a clip. The network's loss on fixed clips and masks is therefore compared with trivial ("dumb")
predictors. They predict the mean of a position over clips, the mean of the clip's visible tokens, or the
nearest visible token. The gain is the network's advantage over the best of them. If shuffled frames do not
raise the loss, the network knows nothing about time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.models.contract import prepare
from echojepa.models.masking import Mask, touches_sector
from echojepa.models.objective import Objective
from echojepa.models.vit import gather_tokens

DUMB = ("position", "clip", "nearest")
"""Names of the trivial predictors."""


@dataclass(frozen=True)
class Foresight:
    """Losses of hidden tokens of fixed clips under fixed masks, means over mask types."""

    loss: float
    """The network's, without the training batch's own statistics."""
    dumb: dict[str, float]
    """Losses of the trivial predictors."""
    gain: float
    """1 - loss / the smallest of them; at 0 or below, the network is no better than they are."""
    gains: tuple[float, ...]
    """The gain of each mask type, in the config's order. The nearest visible token is a better guess under a
    split in time, where the same place is visible at another time."""
    inside: float | None
    """The network's loss in tokens that touch the sector; None if there are none."""
    outside: float | None
    """Its loss in tokens that are black in every frame; None if there are none."""
    by_slots: dict[str, float | None]
    """Its loss by the number of time slots between a token and the nearest visible slot."""
    shuffle_cost: float
    """Relative rise of the loss when the context's frames are shuffled."""


def everywhere(batch: int, tokens: int) -> Mask:
    """A mask whose targets are all tokens."""
    ids = torch.arange(tokens).expand(batch, -1)
    return Mask(ids[:, :0], ids, 0)


def nearest_visible(mask: Mask, grid: tuple[int, int, int]) -> Tensor:
    """For each target (B, M) the id of the context token that is nearest to it, in tokens."""
    _, rows, columns = grid

    def places(ids: Tensor) -> Tensor:
        parts = (ids // (rows * columns), ids // columns % rows, ids % columns)
        return torch.stack(parts, dim=-1).float()

    nearest = torch.cdist(places(mask.target_ids), places(mask.context_ids)).argmin(-1)
    return mask.context_ids.gather(1, nearest)


def slots_apart(mask: Mask, grid: tuple[int, int, int]) -> Tensor:
    """For each target (B, M) the time slots between it and the nearest slot that is seen."""
    area = grid[1] * grid[2]
    hidden, seen = mask.target_ids // area, mask.context_ids // area
    return (hidden.unsqueeze(2) - seen.unsqueeze(1)).abs().amin(2)


def dumb_predictions(targets: Tensor, mask: Mask, grid: tuple[int, int, int]) -> dict[str, Tensor]:
    """What each dumb predictor gives for the hidden tokens, (B, M, D) or (B, 1, D), of the targets of all
    tokens (B, N, D). The mean of a position is over the other clips."""
    others = (targets.sum(0) - targets) / (len(targets) - 1)
    visible = gather_tokens(targets, mask.context_ids)
    return {
        "position": gather_tokens(others, mask.target_ids),
        "clip": visible.mean(1, keepdim=True),
        "nearest": gather_tokens(targets, nearest_visible(mask, grid)),
    }


def masked_mean(errors: Tensor, chosen: Tensor) -> float | None:
    """Mean of the chosen errors; None where none is."""
    return errors[chosen].mean().item() if chosen.any() else None


def gain_of(losses: dict[str, float]) -> float:
    """1 - the network's loss / the least of the dumb predictors'."""
    return 1 - losses["network"] / max(min(losses[name] for name in DUMB), 1e-12)


@torch.no_grad()
def measure_foresight(
    model: Objective, spec: InputSpec, clips: Tensor, masks: Sequence[Mask], order: Tensor
) -> Foresight | None:
    """Measure an objective on clips (B, 3, T, H, W) uint8 under masks of each type; `order` (T,) shuffles.
    None for one that infers nothing.

    B must be at least 2. The objective is left in training, its running statistics as they were.
    """
    predictor = model.predictor
    if predictor is None:
        return None
    if len(clips) < 2:
        raise ValueError(f"foresight needs at least 2 clips, got {len(clips)}")
    grid, prepared = model.encoder.grid, prepare(spec, clips)
    inside = touches_sector(clips, grid)
    model.eval()
    everything = model.targets(prepared, [everywhere(*inside.shape).to(clips.device)], None)[0].float()
    losses: dict[str, list[Tensor]] = {name: [] for name in ("network", "shuffled", *DUMB)}
    within, apart = [], []
    for mask in masks:
        wanted = gather_tokens(everything, mask.target_ids)
        for name, shown in (("network", prepared), ("shuffled", prepared[:, :, order])):
            context = model.encoder(shown, mask.context_ids)
            predicted = predictor(context, mask.context_ids, mask.target_ids).float()
            losses[name].append(model.errors(predicted, wanted))
        for name, predicted in dumb_predictions(everything, mask, grid).items():
            losses[name].append(model.errors(predicted, wanted))
        within.append(inside.gather(1, mask.target_ids).flatten())
        apart.append(slots_apart(mask, grid).flatten())
    model.train()
    means = {
        name: torch.stack([part.mean() for part in parts]).mean().item() for name, parts in losses.items()
    }
    each, places, slots = (torch.cat([p.flatten() for p in x]) for x in (losses["network"], within, apart))
    dumb = {name: means[name] for name in DUMB}
    return Foresight(
        loss=means["network"],
        dumb=dumb,
        gain=gain_of(means),
        gains=tuple(
            gain_of({name: parts[n].mean().item() for name, parts in losses.items()})
            for n in range(len(masks))
        ),
        inside=masked_mean(each, places),
        outside=masked_mean(each, ~places),
        by_slots={str(n): masked_mean(each, slots == n) for n in slots.unique().tolist()},
        shuffle_cost=(means["shuffled"] - means["network"]) / max(means["network"], 1e-12),
    )
