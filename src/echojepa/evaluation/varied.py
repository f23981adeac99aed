"""Counterfactual data sets through the cache: their series, and the features of each recording."""

from __future__ import annotations

from echojepa.config import ConfigError, HarnessConfig
from echojepa.evaluation.features.backbones import Contender
from echojepa.evaluation.features.extraction import Extraction, Look, Pair
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.mechanism import find_series
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cohort import read_cohort
from echojepa.tasks import LVEF


class Varied:
    """The sets that the plan `mechanism` looks at; ConfigError where none varies LVEF."""

    def __init__(self, config: HarnessConfig) -> None:
        if not config.counterfactuals:
            raise ConfigError(
                "this plan looks at counterfactual sets; make them with `echojepa simulate --vary FACTOR`, "
                "one of them of `ef`, ingest each with its labels and name them with --counterfactuals"
            )
        cohort = read_cohort(config.counterfactuals)
        self.series = find_series(cohort, LVEF)
        self.extraction = Extraction(cohort, config)
        self.pairs: list[Pair] = sorted({(int(loop), 0) for one in self.series for loop in one.loops})
        self.look = Look(1)

    def bytes_needed(self, contender: Contender) -> int:
        """Size of the features that are missing."""
        return self.extraction.bytes_needed(contender, {self.look: set(self.pairs)})

    def fill(self, contender: Contender, progress: Progress) -> None:
        """Run what is missing through the backbone."""
        self.extraction.fill(contender, {self.look: set(self.pairs)}, progress)

    def features(self, contender: Contender) -> Features:
        """Features of every recording."""
        return self.extraction.features(contender, self.look, self.pairs)
