"""The main job, stage by stage: what `make demo` runs, and in which order."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echojepa.config import (
    SHIPPED_MODEL,
    AttendConfig,
    DemoConfig,
    EmbedConfig,
    EvaluateConfig,
    IngestConfig,
    PredictConfig,
    PretrainConfig,
    ReportConfig,
    SheetConfig,
    SimulateConfig,
    SurpriseConfig,
    SurveyConfig,
)
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.files.records import encode, read_plain, read_record, write_record
from echojepa.recipes import micro
from echojepa.shipped.by_name import located

DEMO_KEY = "echojepa demo key: fixed and public, never use it for real patients\n"
CREDIT = "Cine: the test data of pydicom, MIT licence."


@dataclass(frozen=True)
class Stage:
    """The settings of one command, and the file that says it was finished."""

    name: str
    config: Any
    marker: Path

    def finished(self) -> bool:
        """Whether this very stage, with these settings, has run to its end."""
        return self.marker.exists() and read_plain(self.marker)["config"] == self._settings()

    def finish(self, seconds: float) -> None:
        """Record that it has."""
        self.marker.parent.mkdir(parents=True, exist_ok=True)
        write_record(self.marker, {"config": self._settings(), "seconds": seconds})

    def cost(self) -> float:
        """Seconds that a finished stage took."""
        return read_plain(self.marker)["seconds"]

    def _settings(self) -> Any:
        return json.loads(encode(self.config))


def demo_stages(config: DemoConfig) -> list[Stage]:
    """Every stage with its settings; each gets paths, never objects of an earlier one."""
    if config.data is not None:
        return numbered(config, own_stages(config, config.data, located(config.model)))
    out = config.out
    archive, data, run, results = (out / n for n in ("archive", "dataset", "run", "results"))
    key, recipe, seed = out / "demo.key", micro(data, run), config.seed
    labels, backbones = archive / "labels.csv", (str(run), str(SHIPPED_MODEL))
    stages = {
        "simulate": SimulateConfig(archive, patients=config.patients, seed=seed),
        "ingest the phantom": IngestConfig((archive,), data, key, labels, site="phantom", seed=seed),
        "ingest real cines": IngestConfig(example_cines(), data, key, site="real", seed=seed),
        "pretrain": replace(recipe, steps=config.steps or recipe.steps, seed=seed),
        "evaluate": EvaluateConfig(plan="demo", data=(data,), out=results, backbones=backbones, seed=seed),
        "report": ReportConfig(data, run, results, out / "report.html", attention_credit=CREDIT),
        "answer": PredictConfig((archive / "P00000", *example_cines()), out / "answer"),
    }
    return numbered(config, stages)


def own_stages(config: DemoConfig, files: Path, model: Path) -> dict[str, Any]:
    """A user's own files: what came in, where they lie, what the encoder looks at, what its run did not
    foresee."""
    from echojepa.answer.model import read_card

    card, out, seed = read_card(model), config.out, config.seed
    data, features, seen = out / "dataset", out / "embedding", out / "seen"
    surprised = out / "surprise" if config.run else None
    encoder = str(model / card.encoder.path)
    stages: dict[str, Any] = {
        "ingest": IngestConfig((files,), data, out / "own.key", site="own", seed=seed),
        "contact sheet": SheetConfig(data, out / "sheet.html"),
        "embed": EmbedConfig(data, features, encoder, clips_per_loop=card.clips_per_loop),
        "attend": AttendConfig((encoder,), seen, data=data, split="all", films=2, seed=seed),
    }
    if config.run and surprised:
        trained_on = read_record(PretrainConfig, config.run / "config.json").data
        kinds = (f"your files={data}",)
        stages["surprise"] = SurpriseConfig(config.run, trained_on, surprised, unlike=kinds)
    stages["survey"] = SurveyConfig(data, features, out / "report.html", model, seen, surprised)
    return stages


def numbered(config: DemoConfig, stages: dict[str, Any]) -> list[Stage]:
    """Stages by name with the files that say that they were finished."""
    marker = config.out / "stages"
    return [
        Stage(name, settings, marker / f"{number}-{name.replace(' ', '-')}.json")
        for number, (name, settings) in enumerate(stages.items(), start=1)
    ]


def write_demo_key(config: DemoConfig) -> None:
    """The demo's key is fixed and public, so that two demos make the same ids; not that of own files."""
    config.out.mkdir(parents=True, exist_ok=True)
    if config.data is None:
        (config.out / "demo.key").write_text(DEMO_KEY, encoding="utf-8")


def peak_memory() -> float:
    """Largest resident memory of this process, GB (Linux counts kB, macOS bytes)."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1e9 if sys.platform == "darwin" else 1e6)
