"""Over the wire: who may call, what is stored, and an answer that comes back in its own study."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pydicom
import pynetdicom
import pytest
from identifiers import PlantedStudy
from programs import program

from echojepa.answer.model import Model
from echojepa.cli import main
from echojepa.config import ListenConfig
from echojepa.data.reading.dicom.pixels import SYNTAXES
from echojepa.errors import ConfigError, UserError
from echojepa.listen import receiving, sending, service
from echojepa.listen.receiving import RETIRED, send_at_once
from echojepa.listen.sending import Destination, NotSent, send_files
from echojepa.listen.service import Listener

from ..conftest import Made
from .conftest import SECONDS, Archive, ByModel, called, sent, steps, wait_for

SCANNER = "SECRETSCANNER"
Opened = Callable[..., AbstractContextManager[Listener]]


def test_a_study_comes_in_and_its_report_goes_back_into_it_and_nothing_else_names_anybody(
    planted: PlantedStudy,
    model: Model,
    open_listener: Opened,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Archive().at() as archive:
        send = partial(send_files, "ECHOJEPA", Destination("ARCHIVE", "127.0.0.1", archive.port))
        with open_listener(ByModel(model), send, quiet=0.5, allow=(SCANNER,)) as listener:
            with called(listener.port, SCANNER) as link:
                statuses = [link.send_c_store(path).Status for path in planted.files * 2]
                assert statuses == [0] * 2 * len(planted.files)
            names = [path.relative_to(tmp_path) for path in (tmp_path / "out").rglob("*")]
            objects = [archive.next(), archive.next()]
            wait_for(tmp_path / "out", "sent")
    source = pydicom.dcmread(planted.files[0])
    for made in objects:
        assert made.StudyInstanceUID == source.StudyInstanceUID
        for name in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "AccessionNumber",
            "StudyDate",
            "StudyID",
        ):
            assert made[name] == source[name]
    assert {made.Modality for made in objects} == {"SR", "OT"}
    assert not list((tmp_path / "out").rglob("*.dcm")), "all is deleted"
    audit = (tmp_path / "out/audit.jsonl").read_text()
    names += [path.relative_to(tmp_path) for path in (tmp_path / "out").rglob("*")]
    held = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()).decode(
        "latin-1"
    )
    said = capfd.readouterr()
    assert not planted.told_in([audit, *map(str, names), held, said.out, said.err, caplog.text])
    assert "127.0.0.1" not in audit
    counts = {step: steps(tmp_path / "out").count(step) for step in ("received", "received again", "sent")}
    assert counts == {"received": len(planted.files), "received again": len(planted.files), "sent": 1}


def test_who_is_not_allowed_is_refused_and_who_asks_gets_an_echo(
    open_listener: Opened, tmp_path: Path
) -> None:
    with open_listener(allow=("SCANNER",), associations=1) as listener:
        with called(listener.port, "STRANGER") as link:
            assert link.is_rejected
        with called(listener.port, title="ANOTHER") as link:
            assert link.is_rejected
        with called(listener.port) as link, called(listener.port) as second:
            assert link.send_c_echo().Status == 0 and second.is_rejected, "one at once"
    found = steps(tmp_path / "out")
    assert (found.count("echo"), found.count("association refused")) == (1, 3)


def test_what_cannot_be_taken_gets_a_status_and_the_rest_comes_in(
    open_listener: Opened, planted: PlantedStudy, tmp_path: Path
) -> None:
    nameless, other = pydicom.dcmread(planted.files[0]), pydicom.dcmread(planted.files[1])
    del nameless.StudyInstanceUID
    nameless.save_as(tmp_path / "nameless.dcm")
    with open_listener(most_instances=2) as listener:
        files = [tmp_path / "nameless.dcm", *planted.files[:3]]
        assert sent(listener.port, files) == [0xC000, 0, 0, 0xA700]
        with called(listener.port) as link:
            other.SOPInstanceUID = planted_uid = f"{other.SOPInstanceUID}.1"
            assert link.send_c_store(other).Status == 0xA700, planted_uid
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_an_instance_that_is_too_large_for_memory_ends_its_association_and_no_other(
    open_listener: Opened, planted: PlantedStudy, tmp_path: Path
) -> None:
    large = pydicom.dcmread(planted.files[0])
    large.add_new(0x00091010, "OB", bytes(1 << 20))
    large.add_new(0x00090010, "LO", "TEST")
    with (
        open_listener(largest_mib=0.5) as listener,
        called(listener.port) as link,
        called(listener.port) as ended,
    ):
        assert [link.send_c_store(path).Status for path in planted.files * 6] == [0] * 6 * len(planted.files)
        assert "Status" not in ended.send_c_store(large)
        assert link.send_c_store(planted.files[0]).Status == 0
    assert "association ended" in steps(tmp_path / "out")


def test_a_part_of_a_message_that_is_too_large_for_memory_is_not_read(
    open_listener: Opened, tmp_path: Path
) -> None:
    """A head that announces 4 GiB: as a call, and within an association."""
    endless = (0xFFFFFFFF).to_bytes(4)
    with open_listener() as listener, called(listener.port) as link:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=SECONDS) as caller:
            caller.sendall(b"\x01\x00" + endless)
            assert caller.recv(1) == b"", "the connection is closed at once"
        link.dul.socket.socket.sendall(b"\x04\x00" + endless)
        wait_for(tmp_path / "out", "association aborted")
        with called(listener.port) as other:
            assert other.send_c_echo().Status == 0, "the others go on"
    assert steps(tmp_path / "out").count("association ended") == 2


def test_files_are_stored_as_they_were_sent_in_retired_classes_and_every_syntax_that_is_read(
    open_listener: Opened, planted: PlantedStudy, tmp_path: Path
) -> None:
    old = pydicom.dcmread(planted.files[0])
    old.SOPClassUID = old.file_meta.MediaStorageSOPClassUID = next(iter(RETIRED))
    node = pynetdicom.AE("SCANNER")
    node.add_requested_context(old.SOPClassUID, old.file_meta.TransferSyntaxUID)
    for syntax in SYNTAXES:
        node.add_requested_context(pydicom.uid.UltrasoundMultiFrameImageStorage, syntax)
    with open_listener() as listener:
        link = node.associate("127.0.0.1", listener.port, ae_title="ECHOJEPA")
        assert {context.transfer_syntax[0] for context in link.accepted_contexts} == set(SYNTAXES)
        assert link.send_c_store(old).Status == 0
        link.release()
    (stored,) = (tmp_path / "out").rglob("*.dcm")
    again = pydicom.dcmread(stored)
    assert again == old and again.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
    assert stored.stat().st_mode & 0o077 == 0


def test_an_answer_waits_for_an_archive_that_is_down(
    open_listener: Opened, made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT", 0.1)
    files = sorted(made.tested.iterdir())
    with Archive().at() as gone:
        port = gone.port
    send = partial(send_files, "ECHOJEPA", Destination("ARCHIVE", "127.0.0.1", port))
    with open_listener(send=send, quiet=0.2) as listener:
        assert set(sent(listener.port, files)) == {0}
        wait_for(tmp_path / "out", "not sent")
        with Archive().at(port) as archive:
            assert {archive.next().Modality, archive.next().Modality} == {"SR", "OT"}
            wait_for(tmp_path / "out", "sent")
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_both_a_listener_and_a_sender_send_at_once_what_they_write(
    open_listener: Opened, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []

    def told(event: pynetdicom.evt.Event) -> None:
        send_at_once(event)
        at_once.append(event.assoc.dul.socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    for module in (receiving, sending):
        monkeypatch.setattr(module, "send_at_once", told)
    with open_listener() as listener, called(listener.port) as link:
        assert link.send_c_echo().Status == 0 and at_once == [1]
    with Archive().at() as archive:
        send_files(
            "ECHOJEPA", Destination("ARCHIVE", "127.0.0.1", archive.port), sorted(written.glob("*.dcm"))
        )
    assert at_once == [1, 1]


def test_an_archive_that_does_not_take_reports_is_told_of(written: Path) -> None:
    node = pynetdicom.AE("ARCHIVE")
    node.add_supported_context("1.2.840.10008.1.1")
    server = node.start_server(("127.0.0.1", 0), block=False)
    with pytest.raises(NotSent):
        archive = Destination("ARCHIVE", "127.0.0.1", server.server_address[1])
        send_files("ECHOJEPA", archive, sorted(written.glob("*.dcm")))
    server.shutdown()


def test_settings_that_cannot_be_say_what_to_do(
    tmp_path: Path, settings: ListenConfig, open_listener: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, why in (
        ({"seconds": 0}, "at least 1"),
        ({"host": "0.0.0.0"}, "--allow"), ({"ae_title": "A" * 17}, "AE title"), ({"quiet": 0}, "above 0"),
        ({"port": 70000}, "65535"), ({"associations": 0}, "at least 1"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            replace(settings, **wrong)
    command = ["listen", "--model", "nowhere", "--out", str(tmp_path / "o"), "--to"]
    for destination in ("ARCHIVE", "ARCHIVE@host", "@host:1", "ARCHIVE@host:x"):
        assert main([*command, destination]) == 1
        assert "is not AE@host:port" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(UserError, match="cannot listen"),
            open_listener(port=taken.getsockname()[1]),
        ):
            pass
    with open_listener():
        pass  # the folder was let go of


def test_dcmtk_sends_a_study(open_listener: Opened, made: Made, tmp_path: Path) -> None:
    storescu = program("dcmtk")
    with open_listener() as listener:
        command = [storescu, "-xy", "-aet", "SCANNER", "-aec", "ECHOJEPA", "127.0.0.1", str(listener.port)]
        done = subprocess.run([*command, "+sd", str(made.tested)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == len(list(made.tested.iterdir()))
    last = json.loads((tmp_path / "out/audit.jsonl").read_text().splitlines()[-1])
    assert last["step"] == "stopped" and last["studies"] == 1
