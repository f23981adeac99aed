"""What a page rests on: data, weights, versions, machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

from echojepa.evaluation.results import ResultRow
from echojepa.training.hardware import cpu_name
from echojepa.version import __version__
from echojepa.weights.folder import WeightsCard

LIBRARIES = ("torch", "numpy", "scikit-learn", "pylance", "pydicom", "av")


def provenance(
    card: WeightsCard, fingerprint: str, evaluated: Sequence[str], rows: Sequence[ResultRow]
) -> list[tuple[str, str]]:
    """Names and values, in the order in which a reader would ask; `evaluated`: fingerprints of the results'
    data, none where they do not say."""
    weights = {row.backbone: row.weights for row in rows if row.weights}
    versions = [f"echojepa {__version__}", *(f"{name} {version(name)}" for name in LIBRARIES)]
    system = f"{platform.system()}, Python {platform.python_version()}"
    return [
        ("data set", f"fingerprint {fingerprint}"),
        ("encoder", f"sha256 {card.sha256}"),
        ("predictor", f"sha256 {card.predictor_sha256}" if card.predictor_sha256 else "none"),
        ("trained on", f"fingerprint {card.origin.data_fingerprint or 'not known'}"),
        ("computed on", "; then ".join(card.origin.computed_on) or "not known"),
        ("evaluated on", f"fingerprint {', '.join(evaluated) or 'not known'}"),
        ("compared", ", ".join(f"{name} {digest}" for name, digest in weights.items())),
        ("versions", ", ".join(versions)),
        ("page made on", f"{cpu_name()}, {os.cpu_count()} CPUs; {system}"),
    ]
