"""`echojepa serve`: load the model, listen, and clean up at the end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from echojepa.answer.process import AnsweringProcess
from echojepa.answer.values import NOTICE
from echojepa.answer.worker import WorkerSettings, ZipLimits
from echojepa.config import ServeConfig
from echojepa.errors import UserError
from echojepa.files.durable import write_text
from echojepa.processes.lock import held_alone
from echojepa.serve.access import HEAD, AccessRules
from echojepa.serve.app import build_app
from echojepa.serve.jobs import JobStore, claim
from echojepa.serve.service import ServedLimits, Service
from echojepa.shipped.by_name import located

HEAD_SECONDS = 20.0
"""In which a connection must have sent the head of a request."""
MOST_CONNECTIONS = 200
SHORTEST_TOKEN = 20


class PromptProtocol(H11Protocol):
    """HTTP that does not wait for who does not speak: the library bounds a head's size, not its time."""

    def connection_made(self, transport: Any) -> None:
        """Look at it again, and again, after its time.

        What is written is sent at once. asyncio sees to that for sockets that say they are TCP's, which those
        of `socket.create_server` do not: an answer's body then waited 40 ms for the word that its head came.
        """
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        super().connection_made(transport)
        self.wait_for_more()

    def wait_for_more(self) -> None:
        """Note what it asked last."""
        self.asked = self.cycle
        self.watch = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.hang_up)

    def hang_up(self) -> None:
        """Close a connection that has asked nothing more since, and waits for no answer."""
        if self.cycle is self.asked and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        else:
            self.wait_for_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be watched."""
        self.watch.cancel()
        super().connection_lost(exc)


def serve(config: ServeConfig, say: Callable[[str], object]) -> None:
    """Serve until it is interrupted; UserError for what stands in the way."""
    rules = AccessRules(config.names, token_of(config))
    limits = ServedLimits.of(config)
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(listen(config))
        say(f"Loading the model {config.model}" + (f" and {config.beside}" if config.beside else ""))
        settings = WorkerSettings(
            located(config.model).resolve(),
            config.workers,
            limits.memory,
            dicom=importlib.util.find_spec("highdicom") is not None,
            films=True,
            beside=config.beside and located(config.beside).resolve(),
            zips=ZipLimits(limits.files, limits.bytes),
        )
        worker = opened.enter_context(AnsweringProcess(settings, config.seconds))
        claim(config.out)  # not before the model is there
        opened.enter_context(
            held_alone(config.out / "serve.lock", f"another server uses {config.out}; give another --out")
        )
        store = JobStore(config.out.resolve(), config.studies, None if config.keep else 60.0 * config.minutes)
        service = Service(store, limits, worker, worker.facts)
        opened.callback(service.close)
        say(f"{address_of(listening)}  (stop with Ctrl-C; {kept(config)})")
        say(NOTICE)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):  # the library raises again what stopped it
            http_server(build_app(service, rules)).run(sockets=[listening])


def http_server(app: Any) -> uvicorn.Server:
    """The HTTP server; it logs no requests."""
    settings = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=HEAD,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(settings)


def kept(config: ServeConfig) -> str:
    """What becomes of results, in words."""
    if config.keep:
        return f"results stay in {config.out}"
    return f"results are deleted then, and after {config.minutes} minutes"


def listen(config: ServeConfig) -> socket.socket:
    """A listening socket; UserError where there can be none."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen at {config.host}, port {config.port}: {error}; give another --port or --host"
        ) from None


def address_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def token_of(config: ServeConfig) -> str | None:
    """The token in its file, made if it is missing; UserError for one that can be guessed."""
    if config.token is None:
        return None
    if not config.token.exists():
        config.token.parent.mkdir(parents=True, exist_ok=True)
        write_text(config.token, secrets.token_urlsafe(32) + "\n", private=True)
    found = config.token.read_text(encoding="utf-8").strip()
    if len(found) < SHORTEST_TOKEN or not found.isascii():
        raise UserError(f"the token in {config.token} must have at least {SHORTEST_TOKEN} plain characters")
    return found
