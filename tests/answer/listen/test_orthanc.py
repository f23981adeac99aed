"""A round trip with an archive that hospitals run: Debian's Orthanc, started here on free ports."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import pytest
from programs import program

from echojepa.answer.model import Model
from echojepa.listen.sending import Destination, send_files
from echojepa.listen.service import Listener

from ..conftest import Made
from .conftest import ByModel, steps, wait_for

SECONDS = 60


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Orthanc:
    """Its REST API and the port of its DICOM node."""

    def __init__(self, http: int, dicom: int) -> None:
        self.http, self.dicom = http, dicom

    def ask(self, path: str, content: bytes | None = None) -> Any:
        """The JSON that it answers with."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", content)
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            return json.load(reply)

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Until something holds; fails where it never does."""
        for _ in range(SECONDS * 10):
            try:
                if true():
                    return
            except urllib.error.URLError:
                pass
            threading.Event().wait(0.1)
        pytest.fail(f"never {what}")


@contextmanager
def orthanc(folder: Path, listener: int) -> Iterator[Orthanc]:
    """An Orthanc of this test alone, which knows one modality."""
    made = Orthanc(free_port(), free_port())
    settings = {
        "Name": "test", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [],
        "HttpPort": made.http, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomPort": made.dicom, "DicomAet": "ORTHANC", "DicomCheckCalledAet": True,
        "DicomModalities": {"echojepa": ["ECHOJEPA", "127.0.0.1", listener]},
    }  # fmt: skip
    folder.mkdir()
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program("orthanc"), str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            made.until(lambda: bool(made.ask("/system")), "up")
            yield made
        finally:
            process.terminate()
            process.wait(SECONDS)


def test_a_study_sent_from_orthanc_has_its_report_beside_it_and_asks_for_no_other(
    open_listener: Callable[..., AbstractContextManager[Listener]], made: Made, model: Model, tmp_path: Path
) -> None:
    port = free_port()
    files = sorted(made.tested.iterdir())
    source, out = pydicom.dcmread(files[0]), tmp_path / "out"
    with orthanc(tmp_path / "orthanc", port) as archive:
        for path in files:
            study = archive.ask("/instances", path.read_bytes())["ParentStudy"]
        send = partial(send_files, "ECHOJEPA", Destination("ORTHANC", "127.0.0.1", archive.dicom))
        with open_listener(ByModel(model), send, quiet=1.0, port=port, allow=("ORTHANC",)) as listener:
            archive.ask("/modalities/echojepa/echo", b"{}")
            assert archive.ask("/modalities/echojepa/store", study.encode())["FailedInstancesCount"] == 0
            wait_for(out, "sent")
            found = [one["ID"] for one in archive.ask(f"/studies/{study}/instances")]
            assert len(archive.ask("/studies")) == 1 and len(found) == len(files) + 2
            tags = [archive.ask(f"/instances/{name}/simplified-tags") for name in found]
            (report,) = [one for one in tags if one["Modality"] == "SR"]
            for name in ("StudyInstanceUID", "PatientID"):
                assert report[name] == source[name].value
            assert "Ejection Fraction" in json.dumps(report) and "Research use only" in json.dumps(report)
            again = archive.ask("/modalities/echojepa/store", study.encode())
            assert again["FailedInstancesCount"] == 0
            wait_for(out, "nothing new")
            assert listener.port == port and not list(out.rglob("*.dcm"))
    assert steps(out).count("answered") == 1, "its own report asks for no other"
