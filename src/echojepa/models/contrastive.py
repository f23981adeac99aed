"""The contrastive control: tell a clip's own report from the others of its batch, and the other way round.

EchoPrime's paradigm (arXiv 2410.09704), after CLIP (arXiv 2103.00020), on JEPA's own encoder, loop and data:
a text encoder from scratch reads graded phrases (`models/phrases`), both sides meet on a sphere, and the loss
is the symmetric InfoNCE at a learned temperature. Clips whose reports say the same are no negatives of each
other: they are left out of each other's sums, however they are worded.

One thing is ours: both sides lose their mean over the batch before they are normalised. What all clips share
is most of a young vector; with it left in, small runs fell onto one point within a dozen updates and stayed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echojepa.models.clip_head import ClipHead, FromLabels
from echojepa.models.flops import block_flops, product
from echojepa.models.masking import Mask
from echojepa.models.objective import trained_flops
from echojepa.models.phrases import GRADED, PHRASES, WORDINGS
from echojepa.models.vit import Block, VisionTransformer, initialise, through

TEMPERATURE, SHARPEST = 0.07, 100.0
"""CLIP's: the first temperature, and what its inverse is held under."""
WORD_STD = 0.2
"""Spread of words at the start: they are to differ by more than their positions do."""
SENTENCES = 1 + len(GRADED)
"""Phrases of a report."""


def word_table(phrases: Sequence[str]) -> Tensor:
    """Words of phrases as numbers (phrases, most words), 0 where there is none; in alphabetical order."""
    words = {word: number for number, word in enumerate(sorted({w for p in phrases for w in p.split()}), 1)}
    rows = [torch.tensor([words[word] for word in phrase.split()], dtype=torch.long) for phrase in phrases]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


class ReportEncoder(nn.Module):
    """A small transformer over the words of a report; it holds the temperature as well."""

    words: Tensor

    def __init__(self, width: int, depth: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.device("cpu"):  # a fact, not a weight: also where weights are built without storage
            table = word_table(PHRASES)
        self.register_buffer("words", table, persistent=False)
        self.length = SENTENCES * table.shape[1]
        self.embed = nn.Embedding(int(table.max()) + 1, width)
        self.position = nn.Parameter(torch.empty(1, self.length, width))
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.proj = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        initialise(self, self.blocks, generator)
        nn.init.trunc_normal_(self.embed.weight, std=WORD_STD, generator=generator)
        nn.init.trunc_normal_(self.position, std=0.02, generator=generator)

    def forward(self, reports: Tensor) -> Tensor:
        """Reports (B, SENTENCES), numbers of phrases -> vectors (B, width), of the mean over their words."""
        words = self.words[reports].flatten(1)
        x = self.norm(through(self.blocks, self.embed(words) + self.position, None, recompute=False))
        spoken = (words > 0).unsqueeze(2).float()
        return self.proj((x * spoken).sum(1) / spoken.sum(1).clamp_min(1))

    @property
    def flops(self) -> int:
        """Operations of a forward pass a report."""
        width = self.proj.in_features
        return len(self.blocks) * block_flops(self.length, width, 4 * width) + product(1, width, width)


class Contrastive(FromLabels):
    """Encoder with a head, and the text encoder whose vectors it is to meet. Labels are the reports (B,
    SENTENCES), numbers of phrases."""

    def __init__(self, encoder: VisionTransformer, head: ClipHead, reports: ReportEncoder) -> None:
        super().__init__(encoder, head)
        self.reports = reports

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Mean cross-entropy of finding each clip's report, and each report's clip, in the batch."""
        seen, read = self.head(self.encoder(clips)), self.reports(targets)
        with torch.autocast(clips.device.type, enabled=False):
            scale = self.reports.log_scale.exp().clamp(max=SHARPEST)
            seen, read = (F.normalize(side.float() - side.float().mean(0), dim=1) for side in (seen, read))
            likeness = scale * seen @ read.T
        return self.errors(likeness, targets).mean()

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Of each clip and of its report, (B, 2), of their scaled likeness (B, B) and the reports."""
        grades = targets // WORDINGS
        same = (grades.unsqueeze(1) == grades).all(-1).fill_diagonal_(False)
        own = torch.arange(len(targets), device=targets.device)
        among = predicted.masked_fill(same, -math.inf)
        sides = [F.cross_entropy(side, own, reduction="none") for side in (among, among.T)]
        return torch.stack(sides, dim=1)

    forward = loss
    """What is called where several processes share the model."""

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip; each is held against every report of its batch."""
        likeness = product(1, self.reports.proj.out_features, len(masks[0].context_ids))
        rest = self.head.flops + self.reports.flops + likeness
        return trained_flops(self.encoder, math.prod(self.encoder.grid), rest)
