"""Uploads in pieces that resume: a piece says where it begins, and is kept whole or not at all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from echojepa.serve.jobs import INPUT, JobState, JobStore
from echojepa.serve.refusals import Refusal

PIECE = 4 << 20
"""Bytes of a piece at most."""


@dataclass(frozen=True)
class UploadedFile:
    """A file of a study: how much of it is here."""

    file: int
    """Its place, 1 the first."""
    size: int
    offset: int
    """Bytes that are here: where the next piece begins."""


class Uploads:
    """Files on their way in; safe for threads."""

    def __init__(self, store: JobStore, most_files: int, most_bytes: int) -> None:
        self.store, self.most_files, self.most_bytes = store, most_files, most_bytes
        self._files: dict[str, list[UploadedFile]] = {}
        self._lock = threading.RLock()

    def announce(self, job: str, sizes: list[int]) -> list[UploadedFile]:
        """Say which files will come, by their sizes in bytes; Refusal beyond the limits. All of the study."""
        with self._lock:
            self._open(job)
            there = self.files(job)
            new = [UploadedFile(place, size, 0) for place, size in enumerate(sizes, start=len(there) + 1)]
            count, size = len(there + new), sum(one.size for one in there + new)
            if count > self.most_files or size > self.most_bytes:
                raise Refusal(
                    413,
                    f"a study may have {self.most_files} files of {self.most_bytes / 1e6:.0f} MB in all; "
                    f"this one has {count} files of {size / 1e6:.1f} MB",
                )
            self.store.change(job, files=count, size=size)
            for one in new:
                self._path(job, one.file).touch(0o600)
            self._files[job] = there + new
            return self.files(job)

    def append(self, job: str, file: int, offset: int, piece: bytes) -> UploadedFile:
        """Keep a piece that begins at `offset`. One that is here already is not kept twice. Refusal for
        another than is here, and for one elsewhere, which says where the next one begins."""
        with self._lock:
            self._open(job)
            there = self._one(job, file)
            if offset + len(piece) <= there.offset:
                self._check_same(job, file, offset, piece)
                return there
            if offset != there.offset:
                raise Refusal(
                    409,
                    f"the next piece of file {file} begins at byte {there.offset}, not at {offset}",
                    {"Upload-Offset": str(there.offset)},
                )
            if offset + len(piece) > there.size:
                raise Refusal(
                    413, f"file {file} was announced with {there.size} bytes; this piece goes beyond"
                )
            with self._path(job, file).open("r+b") as out:
                out.seek(offset)
                out.write(piece)
            self._files[job][file - 1] = now = replace(there, offset=there.offset + len(piece))
            self.store.change(job)
            return now

    def _check_same(self, job: str, file: int, offset: int, piece: bytes) -> None:
        with self._path(job, file).open("rb") as kept:
            kept.seek(offset)
            if kept.read(len(piece)) != piece:
                raise Refusal(409, f"file {file} differs from the one that was begun; send the original one")

    def files(self, job: str) -> list[UploadedFile]:
        """The files of a study that is being uploaded, by place; none of one that is further."""
        with self._lock:
            return list(self._files.get(job, ()))

    def check_whole(self, job: str) -> None:
        """Refusal where a file is missing or not whole."""
        with self._lock:
            self._open(job)
            files = self.files(job)
            cut = [one for one in files if one.offset < one.size]
            if cut:
                raise Refusal(
                    409,
                    f"{len(cut)} of {len(files)} files are incomplete: file {cut[0].file} has "
                    f"{cut[0].offset} of {cut[0].size} bytes here; send the rest",
                )
            if not files:
                raise Refusal(409, "the study has no files; announce and send them first")

    def forget(self, job: str) -> None:
        """Nothing more comes for a study."""
        with self._lock:
            self._files.pop(job, None)

    def _open(self, job: str) -> None:
        state = self.store.get(job).state
        if state is not JobState.UPLOADING:
            raise Refusal(409, f"this study is {state.value} and accepts no more files")

    def _one(self, job: str, file: int) -> UploadedFile:
        files = self.files(job)
        if not 1 <= file <= len(files):
            raise Refusal(404, f"there is no file {file}; the study has {len(files)} announced files")
        return files[file - 1]

    def _path(self, job: str, file: int) -> Path:
        return self.store.place(job) / INPUT / f"{file:06d}"
