"""Settings of the commands that answer for studies: assemble, survey, predict, serve, listen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from echojepa.config.checks import check_least
from echojepa.errors import ConfigError

SHIPPED_MODEL = Path("shipped:small")
"""The model that comes with the package."""


@dataclass(frozen=True)
class AssembleConfig:
    """Make a model for studies from an encoder and the probes of an evaluation."""

    results: Path
    """Folder written by `echojepa probe --calibrated`."""
    backbone: str
    """The probed encoder, named as it was there: a run folder, or weights of another layout."""
    out: Path
    """Folder to write. It must not exist yet."""
    tasks: tuple[str, ...] = ("lvef", "rvsp", "view")
    """Tasks of the model, each with a probe in `results`: names, or JSON files as for `echojepa probe`."""
    probes: tuple[str, ...] = ("attentive", "attentive, over time", "ridge, over time")
    """Kinds of probe to choose from; the best on validation patients is taken."""
    name: str = ""
    """Name of the model; by default the name of its folder."""


@dataclass(frozen=True)
class PredictConfig:
    """Answer for studies: values with intervals, or the reason for no value. Research use only."""

    studies: tuple[Path, ...]
    """Folders, DICOMDIRs, zips, DICOM files, MP4 or AVI; a folder may hold several studies."""
    out: Path
    """Folder for prediction.json, prediction.csv and prediction.html; several studies get a folder each."""
    model: Path = SHIPPED_MODEL
    """Folder made by `echojepa assemble`, or `shipped:small`, which comes with the package and was trained
    only on synthetic hearts."""
    dicom: bool = False
    """Also write a DICOM SR and a key image for the archive (extra `dicom-sr`); both name the patient."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""


@dataclass(frozen=True)
class ServeConfig:
    """Answer for studies in a browser: upload one, see the answer, accept or reject it. Research use only."""

    model: Path = SHIPPED_MODEL
    """Folder made by `echojepa assemble`, or `shipped:small`."""
    beside: Path | None = None
    """A second model whose answers are shown beside the first; only the first writes the SR."""
    out: Path = Path("echojepa-serve")
    """Folder for studies and results. It is created if missing, and only its owner can read it."""
    keep: bool = False
    """Keep results. By default they are deleted after `--minutes` and when the server stops."""
    minutes: int = 60
    """Minutes until uploads and answers are deleted, unless `--keep`."""
    host: str = "127.0.0.1"
    """Address to listen at. An address beyond this machine needs a token. Use a network that you trust, or a
    proxy that encrypts."""
    port: int = 8377
    """Port to listen at; 0 takes a free one."""
    token: Path | None = None
    """File with the access token of all clients; a missing file is created."""
    names: tuple[str, ...] = ()
    """Host names of the server, as browsers use them; IP addresses and `localhost` always work."""
    megabytes: int = 4000
    """Maximum size of a study, also unpacked from a zip, in MB."""
    files: int = 2000
    """Maximum number of files of a study."""
    seconds: int = 900
    """Maximum time for a study, in seconds."""
    memory: int = 4000
    """Maximum memory for a study beyond the loaded model, in MB."""
    queue: int = 8
    """Maximum number of studies that wait."""
    studies: int = 40
    """Maximum number of stored studies, from upload to deletion."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        check_least(self, 1, "minutes", "megabytes", "files", "seconds", "memory", "queue", "studies")
        check_least(self, 0, "workers")
        check_port(self.port)
        if self.token is None and not is_own_address(self.host):
            raise ConfigError(
                f"at {self.host} other machines can reach the server; give --token FILE to protect it"
            )


@dataclass(frozen=True)
class ListenConfig:
    """Receive studies by DICOM C-STORE, answer them, and send the answers back. Research use only."""

    out: Path
    """Folder of the listener, which only you can read: received files, the audit, and answers that are not
    sent. Started again with the same folder, the listener resumes."""
    model: Path = SHIPPED_MODEL
    """Folder made by `echojepa assemble`, or `shipped:small`."""
    to: str | None = None
    """Destination of answers, as AE@host:port; by default they stay in the folder."""
    quiet: float = 60.0
    """Seconds without a new instance until a study counts as complete."""
    ae_title: str = "ECHOJEPA"
    """AE title of the listener; calls to other titles are refused."""
    host: str = "127.0.0.1"
    """Address to listen at; an address beyond this machine needs `--allow`."""
    port: int = 11112
    """Port to listen at."""
    allow: tuple[str, ...] = ()
    """AE titles that may call; by default all."""
    associations: int = 8
    """Maximum number of associations at once; more are refused."""
    most_gib: float = 50.0
    """Maximum size of all stored instances, in GiB; more are refused."""
    largest_mib: float = 1024.0
    """Maximum size of one instance, in MiB (it is received in memory); a larger one ends its association."""
    most_instances: int = 20_000
    """Maximum number of stored instances; more are refused."""
    most_studies: int = 200
    """Maximum number of studies not yet complete, answered and sent; instances of more are refused."""
    seconds: int = 900
    """Maximum time for a study, in seconds."""
    memory: int = 4000
    """Maximum memory for a study beyond the loaded model, in MB."""
    keep: bool = False
    """Keep received files and answers; by default they are deleted once the answer has arrived."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allow):
            if not 0 < len(title.strip()) <= 16 or not title.isascii() or "\\" in title:
                raise ConfigError(
                    f"'{title}' is not an AE title; give 1 to 16 ASCII characters without a backslash"
                )
        if not (self.allow or is_own_address(self.host)):
            raise ConfigError(
                f"at {self.host} other machines can call; list the allowed AE titles, such as `--allow "
                "SCANNER1 ARCHIVE`"
            )
        if min(self.quiet, self.most_gib, self.largest_mib) <= 0:
            raise ConfigError("quiet, most_gib and largest_mib must be above 0")
        check_least(self, 1, "associations", "most_instances", "most_studies", "seconds", "memory")
        check_port(self.port)


@dataclass(frozen=True)
class SurveyConfig:
    """Show on one page how far the loops of a data set lie from a model's training set."""

    data: Path
    """Data set made by `echojepa ingest`; it needs no labels."""
    features: Path
    """Folder made by `echojepa embed` of this data set with the model's encoder."""
    out: Path
    """The HTML file to write."""
    model: Path = SHIPPED_MODEL
    """Model folder made by `echojepa assemble`, or `shipped:small`."""
    seen: Path | None = None
    """Folder made by `echojepa attend`; its strips are shown."""
    surprise: Path | None = None
    """Folder made by `echojepa surprise`; its figure is shown."""


def check_port(port: int) -> None:
    """ConfigError for a number that is none of a port."""
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"port must be 0 to 65535; got {port}")


def is_own_address(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
