"""Settings of what answers for studies: assembling a model, survey, predict, serve, listen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from echojepa.errors import ConfigError

SHIPPED_MODEL = Path("shipped:small")
"""The model that comes with the package."""


@dataclass(frozen=True)
class AssembleConfig:
    """Put an encoder and the probes of an evaluation into one folder that answers for studies."""

    results: Path
    """Folder that `echojepa probe --calibrated` wrote."""
    backbone: str
    """The encoder that was probed, as it was given there: a run folder, or weights of another layout."""
    out: Path
    """Folder to write; nothing is overwritten."""
    tasks: tuple[str, ...] = ("lvef", "rvsp", "view")
    """Tasks to take, of those that have a probe: names, or JSON files as for `echojepa probe`."""
    probes: tuple[str, ...] = ("attentive", "attentive, over time", "ridge, over time")
    """Kinds of probe that may be taken; of those that were trained, validation patients choose."""
    name: str = ""
    """Name of the model; by default that of its folder."""


@dataclass(frozen=True)
class PredictConfig:
    """Answer for studies: values with intervals, or why there is none. Research use only."""

    studies: tuple[Path, ...]
    """Folders, DICOMDIRs, zips, DICOM files, MP4 or AVI; a folder may hold several studies."""
    out: Path
    """Folder for prediction.json, prediction.csv and prediction.html; a folder a study where there are
    several."""
    model: Path = SHIPPED_MODEL
    """Folder that `echojepa assemble` made, or `shipped:small`, which comes with the package and was trained
    on synthetic hearts alone."""
    dicom: bool = False
    """Write a DICOM SR and a key image for the archive, too (extra `dicom-sr`); both name the patient."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""


@dataclass(frozen=True)
class ServeConfig:
    """Answer for studies in a browser: drop one, see the answer, accept or reject it. Research use only."""

    model: Path = SHIPPED_MODEL
    """Folder that `echojepa assemble` made, or `shipped:small`."""
    beside: Path | None = None
    """A second model, whose answers stand beside the first one's; the SR is by the first alone."""
    out: Path = Path("echojepa-serve")
    """Folder for studies and results while they are kept; made, and readable by its owner alone."""
    keep: bool = False
    """Keep results when the server stops; else all are deleted then, and after `--minutes`."""
    minutes: int = 60
    """Minutes after which what was uploaded or answered is deleted, unless `--keep`."""
    host: str = "127.0.0.1"
    """Address to listen at; beyond this machine only with a token, and over a network that you trust, or
    behind a proxy that encrypts."""
    port: int = 8377
    """Port to listen at; 0 takes a free one."""
    token: Path | None = None
    """File with the token that everybody must show; made if it is missing."""
    names: tuple[str, ...] = ()
    """Host names by which browsers reach the server; addresses and `localhost` need no mention."""
    megabytes: int = 4000
    """Size of a study at most, and of what a zip holds."""
    files: int = 2000
    """Files of a study at most."""
    seconds: int = 900
    """Seconds that a study may take."""
    memory: int = 4000
    """Megabytes that a study may take beyond the loaded model."""
    queue: int = 8
    """Studies that may wait for their turn."""
    studies: int = 40
    """Studies held at a time, from their upload until they are deleted."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        for name in ("minutes", "megabytes", "files", "seconds", "memory", "queue", "studies"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.port < 65536 or self.workers < 0:
            raise ConfigError(
                f"port must be 0 to 65535 and workers at least 0; got {self.port} and {self.workers}"
            )
        if self.token is None and not is_own_address(self.host):
            raise ConfigError(
                f"{self.host} is beyond this machine, where everybody could read along; give --token FILE"
            )


@dataclass(frozen=True)
class ListenConfig:
    """Take studies in by DICOM C-STORE, answer them, send the answers back. Research use only."""

    out: Path
    """Folder of the listener, open to you alone: what it received, the audit, and answers that are left
    here. Started again with it, it goes on."""
    model: Path = SHIPPED_MODEL
    """Folder that `echojepa assemble` made, or `shipped:small`."""
    to: str | None = None
    """Where answers are sent, as AE@host:port; by default they are left in the folder."""
    quiet: float = 60.0
    """Seconds without a new instance after which a study is complete."""
    ae_title: str = "ECHOJEPA"
    """Own AE title; who calls another one is refused."""
    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own needs `--allow`."""
    port: int = 11112
    """Port to listen at."""
    allow: tuple[str, ...] = ()
    """AE titles that may call; by default all."""
    associations: int = 8
    """Associations at once; more are refused."""
    most_gib: float = 50.0
    """GiB of instances that are held; beyond, none is taken."""
    largest_mib: float = 1024.0
    """MiB of one instance, which is in memory while it comes in; beyond, its association is ended."""
    most_instances: int = 20_000
    """Instances that are held; beyond, none is taken."""
    most_studies: int = 200
    """Studies that wait to be complete, answered or sent; beyond, instances of others are not taken."""
    seconds: int = 900
    """Seconds that a study may take."""
    memory: int = 4000
    """Megabytes that a study may take beyond the loaded model."""
    keep: bool = False
    """Keep received files and answers; by default they are deleted once the answer arrived."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allow):
            if not 0 < len(title.strip()) <= 16 or not title.isascii() or "\\" in title:
                raise ConfigError(f"'{title}' is no AE title: 1 to 16 ASCII characters, and no backslash")
        if not (self.allow or is_own_address(self.host)):
            raise ConfigError(f"at {self.host} others can call; say who may, as `--allow SCANNER1 ARCHIVE`")
        least = min(self.quiet, self.most_gib, self.largest_mib)
        counts = self.associations, self.most_instances, self.most_studies, self.seconds, self.memory
        if least <= 0 or min(counts) < 1:
            raise ConfigError(
                "quiet, most_gib and largest_mib must be above 0; associations, instances, studies, seconds "
                "and memory at least 1"
            )
        if not 0 <= self.port < 1 << 16:
            raise ConfigError(f"port must be 0 to 65535; got {self.port}")


@dataclass(frozen=True)
class SurveyConfig:
    """Say on one page how far the loops of a data set lie from a model's training set."""

    data: Path
    """Data set made by `echojepa ingest`; it needs no labels."""
    features: Path
    """Folder made by `echojepa embed` of this data set with the model's encoder."""
    out: Path
    """The HTML file to write."""
    model: Path = SHIPPED_MODEL
    """Model folder made by `echojepa assemble`, or `shipped:small`."""
    seen: Path | None = None
    """Folder made by `echojepa attend`, whose strips are shown."""
    surprise: Path | None = None
    """Folder made by `echojepa surprise`, whose figure is shown."""


def is_own_address(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
