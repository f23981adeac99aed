"""The probe that reads a compared backbone's clips, where there is one: its own, or that of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from echojepa.config import AttendConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import ComparedBackbone
from echojepa.evaluation.finetuning.training import RECORD, load_finetuned
from echojepa.evaluation.probes.fitting import Readout, unwrapped
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.stored import StoredProbe, find_probes
from echojepa.models.clip_head import moments
from echojepa.models.contract import TokenGrid
from echojepa.models.probe import Probes


@dataclass(frozen=True)
class ClipReader:
    """An attentive or linear head, and what of a clip's tokens it is given."""

    head: Probes
    over_time: bool = False
    """Whether that is each place's mean and spread over time in place of the tokens."""

    def given(self, clips: TokenGrid) -> Tensor:
        """What the head is given of clips, (B, M, D).

        UserError for a head that reads several clips at once: no map of one clip is its.
        """
        if self.head.shape.slots > 1:
            raise UserError(
                "this head reads several clips at once; give the head of a task that reads single clips"
            )
        tokens = clips.tokens.to(self.head.target.device)
        return moments(tokens.float(), clips.grid) if self.over_time else tokens

    def predict(self, clips: TokenGrid) -> Tensor:
        """Predictions of clips in clinical units, or logits, (B, outputs)."""
        return self.head.predict(self.given(clips))[0]

    def attention(self, clips: TokenGrid) -> Tensor:
        """Weight of each token in the pooling, (B, T', H', W'), the mean over the pooler's heads.

        They sum to 1. Over time, a place's weights of mean and spread count together, the same at all times.
        """
        weights = self.head.attention(self.given(clips))[0].mean(dim=1)
        if not self.over_time:
            return weights.unflatten(1, clips.grid)
        times, rows, columns = clips.grid
        each = weights.unflatten(1, (2, 1, rows, columns)).sum(1) / times
        return each.expand(-1, times, -1, -1)

    @property
    def attentive(self) -> bool:
        """Whether it has a pooler, which weights tokens."""
        return self.head.pooler is not None


def reader_of(config: AttendConfig, one: ComparedBackbone) -> tuple[ClipReader, str] | None:
    """The head that an encoder was fine-tuned with, or the probe of `config.results` that reads these
    weights, and the unit of what it predicts, "" for classes.

    None where there is neither; UserError where the results hold none for a trained backbone, or as
    `clip_reader`.
    """
    folder = Path(one.source)
    if (folder / RECORD).is_file():
        return clip_reader(load_finetuned(folder)[1], "fine-tuned"), StoredProbe(folder).card().unit
    if config.results is None:
        return None
    for calibrated in (False, True):
        for stored in find_probes(config.results, config.task, config.probe, calibrated=calibrated).values():
            card = stored.card()
            if card.weights and one.weights.startswith(card.weights):
                return clip_reader(stored.readout(), config.probe), card.unit
    if one.random:
        return None
    raise UserError(
        f"{config.results} has no probe '{config.probe}' of the task '{config.task}' on {one.name}; run "
        "`echojepa probe` with this backbone, or name another --probe or --task"
    )


def clip_reader(readout: Readout, name: str) -> ClipReader:
    """A probe's head as it reads clips; UserError for one that is no head, or reads principal components."""
    inner, over_time = unwrapped(readout)
    if not isinstance(inner, HeadProbe):
        raise UserError(f"the probe '{name}' does not read tokens; name another --probe, such as attentive")
    return ClipReader(inner.model, over_time)
