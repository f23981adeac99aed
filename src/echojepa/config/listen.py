"""Settings of the DICOM node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from echojepa.errors import ConfigError


@dataclass(frozen=True)
class ListenConfig:
    """Take studies in by DICOM C-STORE, answer them, send the answers back. Research use only."""

    model: Path
    """Folder that `echojepa assemble` made."""
    out: Path
    """Folder of the listener, open to you alone: what it received, the audit, and answers that are left
    here. Started again with it, it goes on."""
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
    keep: bool = False
    """Keep received files and answers; by default they are deleted once the answer arrived."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allow):
            if not 0 < len(title.strip()) <= 16 or not title.isascii() or "\\" in title:
                raise ConfigError(f"'{title}' is no AE title: 1 to 16 ASCII characters, and no backslash")
        if not (self.allow or self.host in ("127.0.0.1", "localhost", "::1")):
            raise ConfigError(f"at {self.host} others can call; say who may, as `--allow SCANNER1 ARCHIVE`")
        least = min(self.quiet, self.most_gib, self.largest_mib)
        if least <= 0 or min(self.associations, self.most_instances, self.most_studies) < 1:
            raise ConfigError(
                "quiet, most_gib and largest_mib must be above 0; associations, instances, studies at least 1"
            )
        if not 0 <= self.port < 1 << 16:
            raise ConfigError(f"port must be 0 to 65535; got {self.port}")
