"""What clients do that are slow, many, broken or hostile; a worker that is made up answers the others."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from echojepa.serve import server as server_module
from echojepa.serve.access import AccessRules

from .conftest import LIMITS, Puppet, send, served, settled

PATIENCE = 0.4
"""Seconds that this server waits for a head or a body."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this test wait for nobody."""
    monkeypatch.setattr(server_module, "HEAD_SECONDS", PATIENCE)


@pytest.fixture
def port(written: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A server on a real socket, whose worker answers that a file is no study."""
    patience = PATIENCE if "impatient" in request.fixturenames else 60
    limits = replace(LIMITS, bytes=50_000, queue=8, studies=40)
    with served(
        Puppet(written, sentence="no study"), tmp_path / "out", limits, AccessRules(), patience
    ) as found:
        yield found


def raw(port: int, *parts: bytes) -> bytes:
    """What comes back to these bytes, until the server closes the connection."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            pass
    return found


def client_of(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False)


def status(answer: bytes) -> int:
    return int(answer.split(None, 2)[1])


def test_an_answer_does_not_wait_for_the_word_that_its_head_came(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a connection that is kept, a small body waited 40 ms for it."""
    at_once = []
    made = server_module.PromptProtocol.connection_made

    def connection_made(self: server_module.PromptProtocol, transport: Any) -> None:
        made(self, transport)
        connection = transport.get_extra_info("socket")
        at_once.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(server_module.PromptProtocol, "connection_made", connection_made)
    with client_of(port) as client:
        assert client.get("/api/server").status_code == 200
    assert at_once and all(at_once)


def test_slow_and_broken_clients_are_sent_away_and_the_others_go_on(impatient: None, port: int) -> None:
    head = b"HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert raw(port, b"") == raw(port, b"GET / HTTP/1.1\r\nHo") == b"", "a head that does not end"
    kept = raw(port, b"GET /api/server " + head + b"\r\n", b"GET /api/ser")
    assert status(kept) == 200 and kept.count(b"HTTP/1.1") == 1, "nor a second one"
    with client_of(port) as client:
        job = client.post("/api/jobs").json()["id"]
        client.post(f"/api/jobs/{job}/files", json={"sizes": [100]})
        put = f"PUT /api/jobs/{job}/files/1?offset=0 ".encode() + head
        put += b"Content-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n"
        slow = raw(port, put + b"x" * 60)
        assert status(slow) == 408 and b"took longer" in slow
        with socket.create_connection(("127.0.0.1", port)) as cut:
            cut.sendall(put + b"x" * 60)
        assert client.get(f"/api/jobs/{job}").json()["files"][0]["offset"] == 0, "whole or not at all"
        large = raw(port, b"POST /api/jobs " + head + b"Content-Length: 99999999999\r\n\r\n")
        assert status(large) == 413
        chunked = b"POST /api/jobs " + head + b"Transfer-Encoding: chunked\r\n\r\n"
        assert status(raw(port, chunked + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 3)) == 413
        assert client.get("/api/server").status_code == 200


def test_heads_that_are_none_get_a_4xx(impatient: None, port: int) -> None:
    """A hundred requests with changed bytes, and heads beyond all measure."""
    whole = b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert status(raw(port, whole)) == 201
    assert status(raw(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n")) in (
        400,
        431,
    )
    assert status(raw(port, b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n")) in (400, 431)
    many = b"".join(b"X-%d: y\r\n" % number for number in range(5000))
    assert status(raw(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + many + b"\r\n")) in (400, 431)
    chance, seen = random.Random(0), Counter()
    for _ in range(100):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed) - 4)] = chance.randrange(256)
        answer = raw(port, bytes(changed))
        seen[status(answer) if answer else 0] += 1
    assert not [code for code in seen if code >= 500], seen
    with client_of(port) as client:
        assert client.get("/api/server").status_code == 200


def test_of_fifty_at_once_each_is_answered_or_told_to_come_again(port: int) -> None:
    """None is lost: what was accepted ends, what was not got a 429, and nobody a 500."""

    def one(number: int) -> str:
        with client_of(port) as client:
            made = client.post("/api/jobs")
            if made.status_code == 429:
                return "refused"
            job = made.json()["id"]
            client.post(f"/api/jobs/{job}/files", json={"sizes": [20_000]})
            for offset in (0, 10_000):
                sent = client.put(
                    f"/api/jobs/{job}/files/1?offset={offset}",
                    content=bytes([number]) * 10_000,
                    headers={"Content-Type": "application/octet-stream"},
                )
                assert sent.status_code == 200, sent.text
            while (started := client.post(f"/api/jobs/{job}/start")).status_code == 429:
                assert "start this one again later" in started.text
            assert started.status_code == 202, started.text
            return settled(client, job)["state"]

    with ThreadPoolExecutor(50) as pool:
        seen = Counter(pool.map(one, range(50)))
    assert seen == {"failed": 40, "refused": 10}
    with client_of(port) as client:
        assert len(client.get("/api/jobs").json()) == 40
        assert client.post("/api/jobs").status_code == 429
        client.delete(f"/api/jobs/{client.get('/api/jobs').json()[0]['id']}")
        assert settled(client, send(client, [b"x"]))["state"] == "uploading"
