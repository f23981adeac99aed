"""A listener that is killed at any moment has lost nothing that it acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pydicom
import pytest

from echojepa.config import ListenConfig
from echojepa.data.identity.deidentify import pseudonym
from echojepa.listen.studies import Studies

from ..conftest import Made
from .conftest import called

LISTEN = """
import sys
from pathlib import Path
from echojepa.config import ListenConfig
from echojepa.answer.worker import Answered
from echojepa.listen.service import Listener

class Lists:
    def answer(self, inbox, out, tell, given_up):
        (out / "1").mkdir(parents=True)
        (out / "1/rests on.txt").write_text(chr(10).join(path.stem for path in inbox.iterdir()))
        return Answered(1, 0, 0, 0, 0)

settings = ListenConfig(Path(sys.argv[1]), Path("model"), quiet=0.05, port=0)
with Listener(settings, Lists(), None, lambda line: None) as listener:
    print(listener.port, flush=True)
    sys.stdin.read()
"""
"""A listener that receives, answers with a list of what it had, and leaves answers in its folder."""
STUDIES = 3
MOST = 60
"""Instances that are sent before the latest kill."""


def started(out: Path) -> tuple[subprocess.Popen[str], int]:
    """A listener in a process of its own, and its port."""
    command = [sys.executable, "-c", LISTEN, str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def sent_until_killed(out: Path, source: pydicom.Dataset, moment: int) -> dict[str, str]:
    """Send instances of several studies while the listener is killed: those that were acknowledged, with
    their study."""
    process, port = started(out)
    chance = random.Random(moment)
    killer = threading.Timer(chance.uniform(0.0, 0.6), process.send_signal, [signal.SIGKILL])
    acknowledged = {}
    with called(port) as link:
        killer.start()
        for number in range(MOST):
            source.StudyInstanceUID = f"1.2.{number % STUDIES}"
            source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{moment}.{number}"
            try:
                status = link.send_c_store(source).get("Status")
            except RuntimeError:
                break  # it is dead
            if status != 0:
                break
            acknowledged[str(source.SOPInstanceUID)] = str(source.StudyInstanceUID)
        killer.join()
        link.abort()
        assert process.wait(60) == -signal.SIGKILL
    return acknowledged


def check_nothing_lost(out: Path, acknowledged: dict[str, str]) -> None:
    """Every instance is here, whole, or an answer that is here rests on it."""
    key = (out / "key").read_bytes()
    held = Studies(ListenConfig(out, most_gib=1024, most_instances=1 << 20, most_studies=1 << 20))
    held.close()
    here = {path.stem: path for path in out.glob("studies/*/received/*")}
    answered = {name for path in out.rglob("rests on.txt") for name in path.read_text().split()}
    for uid in acknowledged:
        name = pseudonym(key, "instance", uid)
        assert name in here or name in answered, "acknowledged and lost"
    for path in here.values():
        assert "PixelData" in pydicom.dcmread(path), "a half file"


def kill_at(moments: range, made: Made, out: Path) -> int:
    """Kill at each; all instances that were acknowledged."""
    source = pydicom.dcmread(min(made.tested.iterdir()))
    acknowledged: dict[str, str] = {}
    for moment in moments:
        acknowledged |= sent_until_killed(out, source, moment)
        check_nothing_lost(out, acknowledged)
    assert acknowledged, "no kill came late enough to prove anything"
    return len(acknowledged)


def test_five_kills_lose_nothing_that_was_acknowledged(made: Made, tmp_path: Path) -> None:
    kill_at(range(5), made, tmp_path / "out")


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_was_acknowledged(made: Made, tmp_path: Path) -> None:
    print(kill_at(range(50), made, tmp_path / "out"), "acknowledged instances, 50 kills")
