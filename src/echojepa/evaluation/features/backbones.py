"""Which backbones are compared: those that were asked for, and the random start of each, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from echojepa.backbones.contract import Backbone
from echojepa.backbones.controls import Constant, random_start
from echojepa.backbones.echoprime import EchoPrime
from echojepa.backbones.layouts import read_weights
from echojepa.backbones.loading import RANDOM, load_backbone
from echojepa.backbones.panecho import PanEcho
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import ConfigError, HarnessConfig
from echojepa.evaluation.features.cache import weights_digest
from echojepa.models.contract import InputSpec
from echojepa.training.weights import CARD, Origin, Weights

BIG = 50_000_000
"""Parameters above which a backbone sees a subset of test loops on a processor."""
BIG_TEST_LOOPS = 300


class Maker(Protocol):
    """Loads a backbone when its turn has come; not all are in memory at once."""

    def __call__(self) -> Backbone:
        """The backbone, frozen."""
        ...


@dataclass(frozen=True)
class Contender:
    """A backbone by what tables say of it."""

    name: str
    make: Maker
    weights: str
    """Digest of its weights."""
    parameters: int
    spec: InputSpec
    """What clips it is fed."""
    test_loops: int
    """Test loops of a task at most; 0 for all."""
    source: str
    """What it was loaded from, as `load_backbone` takes it."""
    trainable: bool
    """Whether `echojepa finetune` can start from it: a JEPA encoder of any layout, or its random start."""


def twin_of(name: str, backbone: Backbone) -> Maker | None:
    """What makes a backbone's random start; None for one that is random or constant itself."""
    if name.startswith(RANDOM) or name.startswith("untrained:") or isinstance(backbone, Constant):
        return None
    if isinstance(backbone, EchoPrime):
        return EchoPrime.untrained
    if isinstance(backbone, PanEcho):
        return PanEcho.untrained
    if (Path(name) / CARD).is_file() and (Path(name) / "config.json").is_file():
        return partial(load_backbone, f"{RANDOM}{name}")

    def start() -> Backbone:
        loaded = load_backbone(name)
        assert isinstance(loaded, VideoTransformer)
        return random_start(loaded)

    return start


def find_contenders(config: HarnessConfig) -> list[Contender]:
    """Every backbone once, loaded one at a time to be measured and let go; names are made different.

    CheckpointError as `load_backbone`; ConfigError for weights given twice.
    """
    found: dict[str, tuple[str, Contender]] = {}
    asked: set[str] = set()
    for name in config.backbones:
        make: Maker = partial(load_backbone, name, precision=config.precision, engine=config.engine)
        backbone = make()
        trainable = isinstance(backbone, VideoTransformer) and backbone.read is not None
        contender = measured(make, backbone, name, config, trainable)
        if contender.weights in asked:
            raise ConfigError(f"the backbone '{name}' is given twice, or has the weights of another one")
        asked.add(contender.weights)
        found[contender.weights] = (name, contender)
        twin = twin_of(name, backbone)
        if twin:
            random = measured(twin, twin(), f"{RANDOM}{name}", config, trainable)
            found.setdefault(random.weights, (name, random))
    return with_different_names(list(found.values()))


def measured(
    make: Maker, backbone: Backbone, source: str, config: HarnessConfig, trainable: bool
) -> Contender:
    """A loaded backbone's entry."""
    limit = config.test_loops
    if limit is None:
        limit = BIG_TEST_LOOPS if backbone.parameters > BIG and backbone.device.type == "cpu" else 0
    digest = weights_digest(backbone)
    return Contender(
        backbone.name, make, digest, backbone.parameters, backbone.spec, limit, source, trainable
    )


def with_different_names(found: Sequence[tuple[str, Contender]]) -> list[Contender]:
    """Contenders, those of one name told apart by the last part of their path."""
    counts = Counter(contender.name for _, contender in found)
    named = [
        replace(one, name=f"{one.name} ({Path(path.removeprefix(RANDOM)).name})")
        if counts[one.name] > 1
        else one
        for path, one in found
    ]
    if len({one.name for one in named}) < len(named):
        names = sorted(one.name for one in named)
        raise ConfigError(f"backbones of one name in folders of one name: {names}; rename a folder")
    return named


def read_trainable(name: str) -> Weights:
    """What a fine-tuning starts from: JEPA weights of any layout, or `random:` before one's path. Of a run of
    ours that is the very start it was pretrained from. CheckpointError for other weights."""
    path = Path(name.removeprefix(RANDOM))
    weights = read_weights(path)
    if not name.startswith(RANDOM):
        return weights
    ours = (path / CARD).is_file() and (path / "config.json").is_file()
    made = VideoTransformer.untrained(path) if ours else random_start(VideoTransformer.from_pretrained(path))
    tensors = {key: value.cpu() for key, value in made.encoder.state_dict().items()}
    return replace(weights, encoder=tensors, origin=Origin(made.name), sha256="")
