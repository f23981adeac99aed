"""The files of what was given, numbered: folders, DICOMDIRs, zip archives and single files.

An answer names a file by its number, because paths and file names can name a patient. Numbers start at 1 and
follow the order of the inputs, with the files of each input sorted by path. File 7 is the seventh line of
`find STUDY -type f | LC_ALL=C sort`; for a zip, of `unzip -Z1 STUDY.zip | LC_ALL=C sort`.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from echojepa.answer.values import UnusedFile
from echojepa.data.importers.archive import list_archive
from echojepa.data.reading.dicom.directory import is_directory, referenced_files
from echojepa.data.reading.recording import MAX_FILE
from echojepa.errors import UserError

MOST_ENTRIES, MOST_BYTES = 20_000, 32 << 30
"""Files of a zip, and bytes of all of them when unpacked."""
PIECE = 1 << 20
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError)
"""What damaged zips raise, and those packed in a way that is not read."""
INDEX, DAMAGED = "index of the medium", "damaged in the zip"


@dataclass(frozen=True)
class Gathered:
    """Every file of the input."""

    files: dict[int, Path]
    """By place: those to be read."""
    unused: tuple[UnusedFile, ...]
    """Those that are not looked into."""


@contextmanager
def gathered(inputs: Sequence[Path], scratch: Path | None = None) -> Iterator[Gathered]:
    """The files of studies, zip archives unpacked for as long as this lasts, in `scratch` or where the system
    keeps what is temporary; UserError for what is not there or no archive."""
    with tempfile.TemporaryDirectory(prefix="echojepa-", dir=scratch) as folder:
        entries: list[tuple[Path | None, str]] = []
        seen: set[Path] = set()
        for number, source in enumerate(inputs):
            for path, why in entries_of(source, Path(folder, str(number))):
                if path is None or path not in seen:
                    entries.append((path, why))
                    seen |= {path} if path else set()
        numbered = list(enumerate(entries, start=1))
        yield Gathered(
            {place: path for place, (path, why) in numbered if path and not why},
            tuple(UnusedFile(place, why) for place, (_, why) in numbered if why),
        )


def entries_of(source: Path, scratch: Path) -> list[tuple[Path | None, str]]:
    """Each file of one input in the order of its path, and why it is not read, or ""."""
    if source.is_file() and zipfile.is_zipfile(source):
        return unpacked(source, scratch)
    if source.is_file() and is_directory(source):
        return [(path, "") for path in referenced_files(source)]
    listing = list_archive((source,))
    found = {path: INDEX if is_index(path) else "" for path in listing.videos}
    found |= {Path(path): why for why, path in listing.left_out}
    return [(path, found[path]) for path in sorted(found, key=Path.as_posix)]


def is_index(path: Path) -> bool:
    """Whether a file of a folder is a DICOMDIR: the files that it names are there themselves."""
    return path.name.upper() == "DICOMDIR" and is_directory(path)


def unpacked(source: Path, scratch: Path) -> list[tuple[Path | None, str]]:
    """Unpack a zip into numbered files: names in it lead nowhere. Folders are kept apart, by number."""
    found: list[tuple[Path | None, str]] = []
    folders: dict[str, int] = {}
    left = MOST_BYTES
    try:
        archive = zipfile.ZipFile(source)
    except DAMAGE as error:
        raise UserError(f"the zip is damaged ({type(error).__name__}); pack the study again") from None
    with archive:
        entries = sorted((e for e in archive.infolist() if not e.is_dir()), key=lambda e: e.filename)
        check_size(entries)
        for number, entry in enumerate(entries, start=1):
            parent, _, name = entry.filename.rpartition("/")
            path = scratch / str(folders.setdefault(parent, len(folders))) / str(number)
            why = refusal(entry, name)
            if not why:
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    left -= copy_out(archive, entry, path, left)
                except DAMAGE:
                    why = DAMAGED
            found.append((None if why else path.resolve(), why))
    return found


def check_size(entries: Sequence[zipfile.ZipInfo]) -> None:
    """UserError for a zip that says it is larger than what is unpacked."""
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or size > MOST_BYTES:
        raise UserError(
            f"the zip has {len(entries)} files of {size / 2**30:.1f} GiB; at most {MOST_ENTRIES} files of "
            f"{MOST_BYTES >> 30} GiB are allowed. Make one zip for each study"
        )
    if not entries:
        raise UserError("the zip is empty; give a zip with the files of a study")


def refusal(entry: zipfile.ZipInfo, name: str) -> str:
    """Why an entry is not unpacked, or ""."""
    if name.startswith(".") or entry.filename.startswith("__MACOSX/"):
        return "hidden file"
    if entry.header_offset < 0:
        return DAMAGED
    if entry.flag_bits & 1:
        return "encrypted in the zip"
    return "larger than the limits allow" if entry.file_size > MAX_FILE else ""


def copy_out(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Unpack one entry a piece at a time; its bytes. UserError beyond what it says or what is left."""
    size = 0
    with archive.open(entry) as packed, path.open("wb") as out:
        while piece := packed.read(PIECE):
            size += len(piece)
            if size > min(left, entry.file_size):
                raise UserError("a file in the zip is larger than the zip states; pack the study again")
            out.write(piece)
    return size
