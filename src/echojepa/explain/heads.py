"""The probe that reads a compared backbone, where there is one: its own, or that of an evaluation."""

from __future__ import annotations

from pathlib import Path

from echojepa.config import AttendConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import ComparedBackbone
from echojepa.evaluation.finetuning.training import RECORD, load_finetuned
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.stored import StoredProbe, find_probes
from echojepa.models.probe import Probes


def reader_of(config: AttendConfig, one: ComparedBackbone) -> tuple[Probes, str] | None:
    """The head that an encoder was fine-tuned with, or the probe of `config.results` that reads these
    weights, and the unit of what it predicts, "" for classes.

    None where there is neither; UserError where the results hold none for a trained backbone, or one that is
    no head on tokens.
    """
    folder = Path(one.source)
    if (folder / RECORD).is_file():
        return load_finetuned(folder)[1].model, StoredProbe(folder).card().unit
    if config.results is None:
        return None
    for calibrated in (False, True):
        for stored in find_probes(config.results, config.task, config.probe, calibrated=calibrated).values():
            card = stored.card()
            if card.weights and one.weights.startswith(card.weights):
                return head_in(stored, config.probe), card.unit
    if one.random:
        return None
    raise UserError(
        f"{config.results} has no probe '{config.probe}' of the task '{config.task}' on {one.name}; run "
        "`echojepa probe` with this backbone, or name another --probe or --task"
    )


def head_in(stored: StoredProbe, name: str) -> Probes:
    """The head of a stored probe; UserError for another kind."""
    readout = stored.readout()
    if not isinstance(readout, HeadProbe):
        raise UserError(f"the probe '{name}' does not read tokens; name another --probe, such as attentive")
    return readout.model
