"""The node that takes instances in: C-ECHO and C-STORE, on threads of pynetdicom."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from echojepa.config import ListenConfig
from echojepa.data.identity.deidentify import discreetly
from echojepa.data.reading.dicom.attributes import identifier
from echojepa.data.reading.dicom.pixels import SYNTAXES
from echojepa.data.reading.dicom.reader import header_of
from echojepa.data.reading.rejection import Rejected
from echojepa.errors import UserError
from echojepa.files.durable import disk_full
from echojepa.listen.audit import Audit
from echojepa.listen.studies import NoRoom, Studies

SUCCESS, FAILURE = 0x0000, 0x0110
OUT_OF_RESOURCES, DOES_NOT_MATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
"""Status of C-STORE (DICOM PS3.4, table B.2-1; PS3.7, annex C)."""
PIECE = 1 << 17
"""Bytes of a data set that are sent together."""
LONGEST = 1 << 20
"""Bytes of anything that comes in as one: 8 times what we ask for, since not every sender heeds it."""
RETIRED = {
    "1.2.840.10008.5.1.4.1.1.6": "UltrasoundImageStorageRetired",
    "1.2.840.10008.5.1.4.1.1.3": "UltrasoundMultiFrameImageStorageRetired",
}
"""Storage classes that older archives are full of, and pynetdicom does not list."""


def library() -> Any:
    """pynetdicom; UserError where it is not installed."""
    try:
        import pynetdicom
    except ImportError:
        raise UserError("listening needs pynetdicom; run: pip install 'echojepa[listen]'") from None
    return pynetdicom


@contextmanager
def no_library_talks() -> Iterator[None]:
    """Let no line of pynetdicom or pydicom out, in all threads: they quote what came in."""
    log = logging.getLogger("pynetdicom")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with discreetly():
            yield
    finally:
        log.setLevel(before)


def register_retired() -> None:
    """Have pynetdicom store the retired classes of ultrasound as it stores others."""
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import register_uid

    for uid, keyword in RETIRED.items():
        register_uid(uid, keyword, StorageServiceClass)


def send_at_once(event: Any) -> None:
    """A connection that opened: what is written goes out at once. An instance is a small write and a large
    one, and the system would hold the end of the large one back until the word comes that the rest has come,
    which takes up to 40 ms."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)


@contextmanager
def receiving(settings: ListenConfig, studies: Studies, audit: Audit) -> Iterator[int]:
    """Take instances in for as long as this lasts; the port, which the system chooses where it is set to 0.

    Every storage class is taken, so that a study comes in as a whole; what is no cine is named in its
    answer. Only transfer syntaxes that can be read are, so that a sender converts where it can.
    """
    pynetdicom = library()
    register_retired()
    node = pynetdicom.AE(ae_title=settings.ae_title)
    node.maximum_pdu_size = PIECE
    node.maximum_associations = settings.associations
    node.require_called_aet = True
    node.require_calling_aet = list(settings.allow)
    node.add_supported_context("1.2.840.10008.1.1")  # Verification
    for storage in [*(one.abstract_syntax for one in pynetdicom.AllStoragePresentationContexts), *RETIRED]:
        node.add_supported_context(storage, SYNTAXES)
    taking = Taking(studies, audit, int(settings.largest_mib * 2**20))
    events = pynetdicom.evt
    handlers = [
        (events.EVT_CONN_OPEN, taking.opened),
        (events.EVT_C_ECHO, taking.echo),
        (events.EVT_C_STORE, taking.store),
        (events.EVT_PDU_RECV, taking.measure),
        (events.EVT_REJECTED, lambda event: audit("association refused")),  # its AE title, or too many
        (events.EVT_ABORTED, lambda event: audit("association aborted")),
    ]
    try:
        server = node.start_server((settings.host, settings.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise UserError(
            f"cannot listen at {settings.host}:{settings.port} ({error.strerror}); give another --port"
        ) from None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        node.shutdown()


class Taking:
    """What is done when something comes in."""

    def __init__(self, studies: Studies, audit: Audit, largest: int) -> None:
        self.studies, self.audit, self.largest = studies, audit, largest
        self._coming: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """Bytes of the instance that is coming in, by association."""

    def opened(self, event: Any) -> None:
        """A connection: end it where it announces more than is to be in memory at once. The library would
        read the 4 GiB that a head can announce before it tells of them."""
        send_at_once(event)
        read = event.assoc.dul.socket.recv

        def read_bounded(size: int) -> bytearray:
            if size > LONGEST:
                self.audit("association ended", why="a part of its data is too large")
                raise OSError
            return read(size)

        event.assoc.dul.socket.recv = read_bounded

    def echo(self, event: Any) -> int:
        """A C-ECHO."""
        self.audit("echo")
        return SUCCESS

    def measure(self, event: Any) -> None:
        """A part of an instance, which is in memory until it is whole: end its association beyond the bound,
        as no status can be given before it is whole."""
        self._coming[event.assoc] = self._coming.get(event.assoc, 0) + event.pdu.pdu_length
        if self._coming[event.assoc] > self.largest:
            event.assoc.dul.socket.close()
            self.audit("association ended", why="an instance is too large")

    def store(self, event: Any) -> int:
        """An instance. SUCCESS is returned once it is on the disk, and not before."""
        self._coming.pop(event.assoc, None)
        content = event.encoded_dataset()
        header = header_of(content)
        try:
            study, instance = (
                identifier(header, name) if header else "" for name in ("StudyInstanceUID", "SOPInstanceUID")
            )
        except Rejected:
            study = instance = ""
        if not (study and instance):
            return self.refuse(CANNOT_UNDERSTAND, "its study and instance cannot be read")
        if instance != str(event.request.AffectedSOPInstanceUID).strip():
            return self.refuse(DOES_NOT_MATCH, "it does not match the announced instance")
        try:
            held, fresh = self.studies.receive(study, instance, content)
        except NoRoom as error:
            return self.refuse(OUT_OF_RESOURCES, str(error))
        except OSError as error:
            full = disk_full(error)
            return self.refuse(OUT_OF_RESOURCES if full else FAILURE, full and "the disk is full")
        step = "received" if fresh else "received again"
        self.audit(step, study=held.number, instances=len(held.received), bytes=len(content))
        return SUCCESS

    def refuse(self, status: int, why: str) -> int:
        """Say what was not taken, and why."""
        self.audit("refused", status=f"{status:04X}", why=why or "it could not be written")
        return status
