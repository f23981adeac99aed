"""An archive without tables of its own: every file below the sources.

Links are followed, also to folders. Each folder is read once, so a link to a parent folder causes no endless
loop. Other entries (a named pipe, a broken link, a link to itself, a folder that cannot be listed) are in the
list too and get their row.
"""

from __future__ import annotations

import os
from pathlib import Path

from echojepa.data.identity.private import IngestError
from echojepa.data.importers.listing import NOTHING, Listing

TABLES = (".csv", ".parquet", ".json")
"""Files of these kinds beside the videos are tables of labels and the like, not archives' files."""


def check_sources(sources: tuple[Path, ...]) -> None:
    """IngestError where a source is not there."""
    for source in sources:
        if not os.path.lexists(source):
            raise IngestError(f"{source} does not exist; give folders or files to read")


def list_archive(sources: tuple[Path, ...]) -> Listing:
    """Every file below the sources, resolved and sorted; hidden files and tables are noted as left out."""
    listing, found = Listing(), set[Path]()
    seen: set[tuple[int, int]] = set()
    check_sources(sources)
    for source in sources:
        found.update(files_below(source, seen) if source.is_dir() else [source])
    for path in sorted({Path(os.path.realpath(path)) for path in found}):  # two names of one file are one
        if path.name.startswith("."):
            listing.leave_out("hidden file", path)
        elif path.suffix.lower() in TABLES:
            listing.leave_out("table, or the like", path)
        else:
            listing.videos[path] = NOTHING
    if not listing.videos:
        raise IngestError(
            f"no files in {', '.join(map(str, sources))}; give the folder that contains the DICOM files"
        )
    return listing


def files_below(source: Path, seen: set[tuple[int, int]]) -> set[Path]:
    """All that is below a folder but folders, and those that cannot be listed; `seen` are folders (device,
    inode) that were walked, and gains these."""
    found: set[Path] = set()
    closed: list[OSError] = []
    first_sight(source, seen)
    for folder, below, names in os.walk(source, onerror=closed.append, followlinks=True):
        below[:] = sorted(name for name in below if first_sight(Path(folder, name), seen))
        found.update(Path(folder, name) for name in names)
    found.update(Path(error.filename) for error in closed)
    return found


def first_sight(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not walked yet; one that cannot be asked is, and then cannot be listed."""
    try:
        facts = folder.stat()
    except OSError:
        return True
    identity = (facts.st_dev, facts.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True
