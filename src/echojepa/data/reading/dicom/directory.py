"""DICOMDIR: the index of a medium, and which files it names (PS3.3, F; PS3.10, 8.6)."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from echojepa.data.identity.deidentify import discreetly
from echojepa.data.reading.dicom.attributes import VALUE_ERRORS, items, value
from echojepa.errors import UserError


def is_directory(path: Path) -> bool:
    """Whether a file is a DICOMDIR, by its content."""
    try:
        with discreetly():
            meta = read_file_meta_info(path)
    except (InvalidDicomError, *VALUE_ERRORS, OSError):
        return False
    return meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def referenced_files(path: Path) -> list[Path]:
    """The files that a DICOMDIR names, sorted, whether or not they are there; none outside its folder is.

    UserError for one that does not parse.
    """
    root = path.resolve().parent
    found = set()
    try:
        with discreetly():
            for record in items(pydicom.dcmread(path), "DirectoryRecordSequence"):
                names = value(record, "ReferencedFileID")
                parts = [names] if isinstance(names, str) else list(names or ())
                file = root.joinpath(*map(str, parts)).resolve()
                if parts and file.is_relative_to(root):
                    found.add(file)
    except VALUE_ERRORS as error:
        raise UserError(
            f"the DICOMDIR cannot be read ({type(error).__name__}); give the folder of its files instead"
        ) from None
    return sorted(found, key=Path.as_posix)
