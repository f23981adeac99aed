"""Answers go back to an archive by C-STORE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echojepa.data.reading.dicom.reader import header_of
from echojepa.errors import ConfigError, UserError
from echojepa.listen.receiving import PIECE, library, send_at_once

WARNINGS = range(0xB000, 0xC000)
"""Status of an instance that was stored, and of which there is something to say."""

PATIENCE = 10.0
"""Seconds in which an archive must answer a call."""


class NotSent(UserError):
    """The archive does not have all of an answer."""


@dataclass(frozen=True)
class Destination:
    """An archive."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """From AE@host:port; ConfigError for what is none."""
        title, at, address = text.partition("@")
        host, colon, port = address.rpartition(":")
        if not (at and colon and host and 0 < len(title) <= 16 and port.isdecimal() and int(port) < 1 << 16):
            raise ConfigError(
                f"'{text}' is not AE@host:port; give the destination of answers, such as "
                "ARCHIVE@10.0.0.5:4242"
            )
        return cls(title, host, int(port))


def send_files(own: str, to: Destination, files: Sequence[Path]) -> None:
    """Send files as `own` to an archive, over one association; NotSent unless every one is
    acknowledged."""
    network = library()
    node = network.AE(ae_title=own)
    node.connection_timeout, node.maximum_pdu_size = PATIENCE, PIECE
    for path in files:
        header = header_of(path)
        assert header is not None, "we wrote it"
        node.add_requested_context(header.SOPClassUID, header.file_meta.TransferSyntaxUID)
    opened = [(network.evt.EVT_CONN_OPEN, send_at_once)]
    link = node.associate(to.host, to.port, ae_title=to.title, evt_handlers=opened)
    if not link.is_established:
        raise NotSent("association refused" if link.is_rejected else "no association")
    try:
        for path in files:
            status = link.send_c_store(path).get("Status")
            if status is None:
                raise NotSent("no reply")
            if status != 0 and status not in WARNINGS:
                raise NotSent(f"status {status:04X}")
        link.release()
    except (ValueError, RuntimeError):  # no context was accepted for the class, or the association ended
        raise NotSent("its storage class is not accepted, or the association ended") from None
    finally:
        if link.is_established:
            link.abort()
