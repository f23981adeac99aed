"""Which backbones are compared: those that were asked for, and the random start of each, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from echojepa.backbones.contract import Backbone
from echojepa.backbones.loading import RANDOM, load_backbone
from echojepa.config import ConfigError, Engine, InputSpec, Precision
from echojepa.evaluation.features.cache import weights_digest

BIG = 50_000_000
"""Parameters above which a backbone sees a subset of test loops on a CPU."""
BIG_TEST_LOOPS = 300


Maker = Callable[[], Backbone]
"""Loads a backbone when its turn has come; not all are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """What tables say of a backbone."""

    backbone: str
    """Its name."""
    weights: str
    """The first digits of its weights' digest; empty for the constant."""
    parameters: int
    tokens: int
    """Tokens of a clip."""
    embed_dim: int


@dataclass(frozen=True)
class ComparedBackbone:
    """A backbone that is to be compared, not in memory."""

    name: str
    make: Maker
    source: str
    """What it was loaded from, as `load_backbone` takes it."""
    weights: str
    """Digest of its weights."""
    parameters: int
    spec: InputSpec
    """What clips it is fed."""
    random: bool
    """Whether its weights are random, so that it has no random start to stand beside."""
    trainable: bool
    """Whether `echojepa finetune` can start from it: a JEPA encoder of any layout, or its random start."""
    on_cpu: bool
    start: str = ""
    """Digest of the weights that its training started from, or such weights; empty for random ones."""

    def test_loops(self, limit: int | None) -> int:
        """Test loops of a task at most, 0 for all; `limit` is what was asked for."""
        if limit is None:
            return BIG_TEST_LOOPS if self.parameters > BIG and self.on_cpu else 0
        return limit


def measured(make: Maker, source: str) -> ComparedBackbone:
    """A backbone's entry; it is loaded to be measured, and let go."""
    backbone = make()
    return ComparedBackbone(
        backbone.name, make, source, weights_digest(backbone), backbone.parameters, backbone.spec,
        backbone.random, backbone.trainable, backbone.device.type == "cpu",
    )  # fmt: skip


def random_start(name: str) -> Backbone:
    """The random start of the backbone of a name, in float32 by torch."""
    return load_backbone(name).random_start()


def find_backbones(
    names: Sequence[str], *, precision: Precision = "float32", engine: Engine = "torch"
) -> list[ComparedBackbone]:
    """Every backbone once, and its random start, loaded one at a time; names are made different.

    CheckpointError as `load_backbone`; ConfigError for weights given twice.
    """
    found: dict[str, ComparedBackbone] = {}
    asked: set[str] = set()
    for name in names:
        make = partial(load_backbone, name, precision=precision, engine=engine)
        one = measured(make, name)
        if one.weights in asked:
            raise ConfigError(
                f"the backbone '{name}' is given twice, or has the same weights as another one; give each "
                "once"
            )
        asked.add(one.weights)
        found[one.weights] = one
        if not one.random:
            start = measured(partial(random_start, name), f"{RANDOM}{name}")
            found.setdefault(start.weights, replace(start, trainable=one.trainable))
            found[one.weights] = replace(one, start=start.weights)
    return with_different_names(list(found.values()))


def with_different_names(found: Sequence[ComparedBackbone]) -> list[ComparedBackbone]:
    """Backbones, those of one name told apart by the last part of their path."""
    counts = Counter(one.name for one in found)
    named = [
        replace(one, name=f"{one.name} ({Path(one.source.removeprefix(RANDOM)).name})")
        if counts[one.name] > 1
        else one
        for one in found
    ]
    if len({one.name for one in named}) < len(named):
        names = sorted(one.name for one in named)
        raise ConfigError(f"several backbones have the same name and folder name: {names}; rename a folder")
    return named
