"""The worker's process, seen from who asks it: started, asked, ended where it takes too long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from echojepa.answer.worker import Answered, Ready, Step, Unanswered, WorkerSettings
from echojepa.errors import UserError

LOADING = 300.0
"""Seconds that a model may take to load."""
MAIN = "from echojepa.answer.worker import main; main"
GLANCE = 0.1
"""Seconds between looks at whether a study was given up."""

ENDED = "the process that read it ended: a file is too damaged to read, or needs too much memory"
GIVEN_UP = "it was given up"
GRACE = 5.0
"""Seconds in which an idle worker may end by itself."""


class AnsweringProcess:
    """One worker, of one thread of a server; left, it is ended."""

    def __init__(self, settings: WorkerSettings, seconds: float) -> None:
        """Start it and wait until its model is loaded; UserError where that fails. `seconds`: of a study."""
        self.settings, self.seconds = settings, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None
        self.facts = self.start(lambda: False)

    def __enter__(self) -> AnsweringProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, given_up: Callable[[], bool]) -> Ready:
        """A process with the model in it; UserError where it does not load."""
        mine, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"{MAIN}({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._pipe = Connection(mine.detach())
        self._pipe.send(self.settings)
        said = self._receive(LOADING, given_up)
        if isinstance(said, Ready):
            return said
        self.stop()
        raise UserError(
            said.sentence
            if isinstance(said, Unanswered)
            else "the process that loads the model ended or took too long; check that there is enough memory"
        )

    def answer(
        self, inbox: Path, out: Path, tell: Callable[[Step], None], given_up: Callable[[], bool]
    ) -> Answered | Unanswered:
        """Answer for the files of `inbox` and write the folders `out/1`, `out/2` ..., one for each study; or
        return the reason, without names. Without an answer, the content of `out` is not valid. The worker is
        ended where it takes too long or is `given_up`."""
        for _ in range(2):  # one that ended by itself while nobody looked has not begun: another does it
            heard = False
            try:
                self._send((inbox, out), given_up)
            except UserError:
                return Unanswered("the model can no longer be loaded; start again to see the reason")
            until = time.monotonic() + self.seconds
            while isinstance(said := self._receive(until - time.monotonic(), given_up), Step):
                heard = True
                tell(said)
            if isinstance(said, Answered | Unanswered):
                return said
            self.stop(grace=0)
            if heard or said != ENDED:
                return Unanswered(said)
        return Unanswered(ENDED)

    def _send(self, folders: tuple[Path, Path], given_up: Callable[[], bool]) -> None:
        """Give a worker its work: another worker where the last one was ended, or ended by itself."""
        if self._process is None or self._process.poll() is not None:
            self.stop(grace=0)
            self.start(given_up)
        assert self._pipe is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # noticed by who listens
            self._pipe.send(folders)

    def _receive(self, seconds: float, given_up: Callable[[], bool]) -> Any:
        """What the worker says next, or a sentence where it says nothing."""
        assert self._pipe is not None
        until = time.monotonic() + seconds
        try:
            while not self._pipe.poll(GLANCE):
                if given_up():
                    return GIVEN_UP
                if time.monotonic() > until:
                    return f"it took longer than the {self.seconds:.0f} seconds that a study may take"
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return ENDED

    def stop(self, grace: float = GRACE) -> None:
        """End it, and whatever it started; one that works on nothing ends by itself."""
        if self._pipe is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._pipe.send(None)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
