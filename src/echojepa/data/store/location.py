"""Where a data set lies: a folder, or a prefix of an object store; files in it, and its lock.

`s3://`, `gs://` and `abfss://` go through Arrow's file systems, the table beside them through Lance's own;
both take credentials, region and endpoint from the environment (docs/how-to/object-stores.md).
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from echojepa.files.durable import write_bytes
from echojepa.processes.lock import locked

_SCHEME = re.compile(r"^(s3|gs|abfss):/+")


class Location:
    """A folder that holds a data set. Picklable, opened where it is used."""

    def __init__(self, root: Path | str) -> None:
        """`root` is a path or a URI; a Path made of a URI has lost one of its slashes, which is put back."""
        text = str(root)
        self.remote = bool(_SCHEME.match(text))
        self.root = _SCHEME.sub(r"\1://", text).rstrip("/") if self.remote else text

    def __str__(self) -> str:
        return self.root

    def child(self, name: str) -> str:
        """The path or URI of something in it."""
        return f"{self.root}/{name}" if self.remote else str(Path(self.root) / name)

    def make(self) -> None:
        """Make the folder; a prefix of an object store needs none."""
        if not self.remote:
            Path(self.root).mkdir(parents=True, exist_ok=True)

    def names(self) -> set[str]:
        """What is in it but hidden files; OSError where it cannot be asked, as in a missing bucket."""
        system, base = self._opened()
        if self.remote and system.get_file_info(base.split("/")[0]).type == fs.FileType.NotFound:
            raise FileNotFoundError(f"the bucket {base.split('/')[0]} does not exist")
        found = system.get_file_info(fs.FileSelector(base, allow_not_found=True))
        return {info.base_name for info in found if not info.base_name.startswith(".")}

    def exists(self, name: str) -> bool:
        """Whether it holds something of this name."""
        system, base = self._opened()
        return system.get_file_info(f"{base}/{name}").type != fs.FileType.NotFound

    def read(self, name: str) -> bytes:
        """A file's content; FileNotFoundError where there is none."""
        system, base = self._opened()
        with system.open_input_stream(f"{base}/{name}", compression=None) as file:
            return file.read()

    def replace(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file so that a reader sees the old or the new one, never a half."""
        system, base = self._opened()
        if self.remote:  # an object appears when it is whole
            with system.open_output_stream(f"{base}/{name}", compression=None) as file:
                file.write(content)
            return
        write_bytes(Path(self.root) / name, memoryview(content))

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that is in it."""
        system, base = self._opened()
        system.delete_dir(f"{base}/{name}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold it against other writers. On an object store nothing is held: a commit of the table is atomic
        there, what is replaced whole is not guarded."""
        return nullcontext() if self.remote else locked(Path(self.root) / ".lock")

    def _opened(self) -> tuple[fs.FileSystem, str]:
        if self.remote:
            return fs.FileSystem.from_uri(self.root)
        return fs.LocalFileSystem(), str(Path(self.root).absolute())
