"""The supervised control: predict what a clip's study and view are labelled with.

PanEcho's paradigm (JAMA 2025, doi 10.1001/jama.2025.8731) on JEPA's own encoder, loop and data: every clip is
given its study's labels, whatever its view, and one encoder learns all tasks at once by light heads. Nothing
is hidden and nothing inferred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.models.clip_head import FromLabels
from echojepa.models.masking import Mask
from echojepa.models.objective import trained_flops
from echojepa.tasks import LVEF, RVSP
from echojepa.vocabulary import View

REGRESSED = (LVEF, RVSP)
"""Studies' values, in the order of the labels' columns; the view's number among VIEWS is the last column."""
VIEWS = tuple(View)
OUTPUTS = len(REGRESSED) + len(VIEWS)
"""Of the head: a standardised value each, and the views' logits."""


class Supervised(FromLabels):
    """Encoder, and a head for all tasks.

    Labels (B, tasks): standardised values, and the view's number; NaN is unknown.
    """

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Mean over clips and tasks of the squared errors and the view's cross-entropy."""
        return self.errors(self.head(self.encoder(clips)).float(), targets).mean()

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Of each clip and task, (B, tasks), of outputs (B, OUTPUTS) and labels (B, tasks).

        An unknown label has error 0 and no gradient, as a clip has that cannot be read: so the loss is the
        same whatever the number of processes and parts of a batch.
        """
        known, values = ~targets.isnan(), targets.nan_to_num()
        squares = (predicted[:, : len(REGRESSED)] - values[:, :-1]).square()
        logits = predicted[:, len(REGRESSED) :]
        surprise = F.cross_entropy(logits, values[:, -1].long(), reduction="none")
        return torch.cat([squares, surprise.unsqueeze(1)], dim=1) * known

    forward = loss
    """What is called where several processes share the model."""

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip."""
        return trained_flops(self.encoder, math.prod(self.encoder.grid), self.head.flops)
