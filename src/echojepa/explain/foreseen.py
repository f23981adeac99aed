"""Surprise: how much worse than usual a run's predictor predicts the hidden parts of a loop.

Tubelets are hidden with the run's own kinds of masks, drawn once for all clips. The error depends on position
and mask: it is small near visible tokens and large at the edge of the sector. Each error is therefore
compared with those of training patients' loops: minus their mean there, divided by their spread there. 0 is
their mean, 1 is one standard deviation more. A token's surprise is the mean over the masks that hide it. A
loop's surprise is the mean over its tokens inside the sector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echojepa.config import InputSpec, PretrainConfig
from echojepa.errors import UserError
from echojepa.explain.loops import cells_inside
from echojepa.files.records import read_record
from echojepa.models.building import build_objective, generator_for
from echojepa.models.contract import prepare
from echojepa.models.jepa import JEPA
from echojepa.models.masking import Mask, sample_mask
from echojepa.models.videomae import VideoMAE, cut_tubelets
from echojepa.models.vit import gather_tokens
from echojepa.training.foresight import everywhere, nearest_visible
from echojepa.weights.layouts import read_weights
from echojepa.weights.tensors import load_strictly

DRAWS = 8
"""Masks of each kind that are drawn; equal ones count once."""
LEAST_SPREAD = 0.1
"""Smallest divisor, as a share of the mean spread, for positions whose error hardly varies."""
FEWEST = 3
"""Minimum number of loops that define the usual error."""

Errors = list[Tensor]
"""Errors of a loop's clips, (K, R, M) for each kind of mask: R masks that hide M tokens each."""


@dataclass(frozen=True)
class TrainedRun:
    """Encoder, predictor and targets of a run, with its masks."""

    name: str
    model: JEPA | VideoMAE
    spec: InputSpec
    sha256: str
    """Checksum of its encoder's file."""
    masks: tuple[Mask, ...]
    """R rows of each kind."""

    @classmethod
    def read(cls, folder: Path) -> TrainedRun:
        """The weights that a finished run keeps; CheckpointError where one is missing.

        The encoder that the run keeps also makes the targets, unless there is a teacher.
        """
        weights = read_weights(folder)
        config = read_record(PretrainConfig, folder / "config.json")
        model = build_objective(config)
        if weights.predictor_shape is None or not isinstance(model, JEPA | VideoMAE):
            raise UserError(
                f"{folder} has no predictor; give the folder of a finished `echojepa pretrain` run with "
                "objective jepa or videomae"
            )
        load_strictly(model.encoder, weights.encoder, folder.name)
        load_strictly(model.predictor, weights.predictor, f"the predictor of {folder.name}")
        if isinstance(model, JEPA):
            teacher = config.latent.teacher
            targets = read_weights(teacher) if teacher else weights
            load_strictly(model.target_encoder, targets.encoder, targets.origin.name)
        masks = tuple(
            distinct(sample_mask(kind, model.encoder.grid, DRAWS, generator_for(0, "surprise", number)))
            for number, kind in enumerate(config.masks)
        )
        model.eval()
        return cls(folder.name, model, config.spec, weights.sha256, masks)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T', H', W')."""
        return self.model.encoder.grid

    @torch.no_grad()
    def take_in(self, clips: Iterable[Tensor]) -> None:
        """Learn what targets of training clips (K, 3, T, H, W), batch by batch, are like, where the targets
        are less of it."""
        self.model.train()
        for batch in clips:
            self.model.targets(prepare(self.spec, batch), [everywhere(len(batch), self.model_tokens)])
        self.model.eval()

    @property
    def model_tokens(self) -> int:
        """Tokens of a clip."""
        return math.prod(self.grid)

    @torch.no_grad()
    def errors(self, clips: Tensor) -> Errors:
        """What the predictor errs by on hidden tokens of uint8 clips (K, 3, T, H, W)."""
        pixels = prepare(self.spec, clips)
        whole = self.model.targets(pixels, [everywhere(len(clips), self.model_tokens)])[0].float()

        def predicted(number: int, mask: Mask) -> Tensor:
            shown = pixels[number].expand(len(mask.context_ids), -1, -1, -1, -1)
            context = self.model.encoder(shown, mask.context_ids)
            return self.model.predictor(context, mask.context_ids, mask.target_ids).float()

        return self.compared(whole, predicted)

    @torch.no_grad()
    def still_errors(self, clips: Tensor) -> Errors:
        """Errors, in grey levels, of a prediction without motion: a hidden tubelet looks like the nearest
        visible one."""
        tubelet, patch, _ = self.model.encoder.patch_embed.kernel
        whole = cut_tubelets(clips[:, :1].float(), tubelet, patch).flatten(2)

        def predicted(number: int, mask: Mask) -> Tensor:
            nearest = nearest_visible(mask, self.grid)
            return gather_tokens(whole[number].expand(len(nearest), -1, -1), nearest)

        return self.compared(whole, predicted, lambda found, truth: (found - truth).abs().mean(-1))

    def compared(
        self,
        whole: Tensor,
        predicted: Callable[[int, Mask], Tensor],
        distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Errors:
        """Errors of what is predicted of clip `number` under a mask, given all tokens (K, N, D)."""
        distance = distance or self.model.errors
        found = []
        for mask in self.masks:
            each = [
                distance(predicted(number, mask), gather_tokens(one.expand(len(mask.target_ids), -1, -1),
                                                                mask.target_ids))
                for number, one in enumerate(whole)
            ]  # fmt: skip
            found.append(torch.stack(each))
        return found


def distinct(mask: Mask) -> Mask:
    """The masks of a batch that differ, in the order in which they were drawn."""
    seen: dict[tuple[int, ...], int] = {}
    for row, ids in enumerate(mask.target_ids.tolist()):
        seen.setdefault(tuple(ids), row)
    return mask.rows(torch.tensor(sorted(seen.values())))


@dataclass(frozen=True)
class Usual:
    """What errors of training loops are, of each kind of mask: (R, M) means and spreads."""

    means: tuple[Tensor, ...]
    spreads: tuple[Tensor, ...]

    @classmethod
    def of(cls, loops: Sequence[Errors]) -> Usual:
        """Of loops' errors, each loop the mean over its clips; UserError for fewer than FEWEST."""
        if len(loops) < FEWEST:
            raise UserError(f"the usual error needs at least {FEWEST} training loops; there are {len(loops)}")
        kinds = [torch.stack([loop.mean(0) for loop in kind]).double() for kind in zip(*loops, strict=True)]
        spreads = [kind.std(0) for kind in kinds]
        least = LEAST_SPREAD * float(torch.cat([spread.flatten() for spread in spreads]).mean())
        return cls(
            tuple(kind.mean(0) for kind in kinds),
            tuple(spread.clamp_min(max(least, 1e-12)) for spread in spreads),
        )

    def map(self, errors: Errors, masks: Sequence[Mask], grid: tuple[int, int, int]) -> Tensor:
        """Surprise of each token, (K, T', H', W'), nan for one that no mask hides."""
        tokens = math.prod(grid)
        total = torch.zeros(len(errors[0]), tokens, dtype=torch.float64)
        count = torch.zeros(tokens, dtype=torch.float64)
        for found, mean, spread, mask in zip(errors, self.means, self.spreads, masks, strict=True):
            ids = mask.target_ids.flatten()
            total.index_add_(1, ids, ((found.double() - mean) / spread).flatten(1))
            count.index_add_(0, ids, torch.ones(len(ids), dtype=torch.float64))
        return (total / count).unflatten(1, grid)


def cells_of(sector: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Places (H', W') of which half or more lies in the sector (size, size); all, where none does."""
    inside = cells_inside(sector, grid[1:])
    return inside if inside.any() else torch.ones_like(inside)


def score_of(surprise: Tensor, cells: Tensor) -> float:
    """A loop's surprise: the mean over its clips' tokens (K, T', H', W') at places `cells` (H', W')."""
    return float(surprise[:, :, cells].nanmean())
