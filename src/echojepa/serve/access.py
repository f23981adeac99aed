"""Who may ask, and how: host names, origins, the token, the size and time of a body, headers of every answer.

What is asked passes here before anything of it is read; what is answered, before it goes out.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echojepa.serve.refusals import Refusal
from echojepa.serve.uploads import PIECE

COOKIE = "echojepa"
OPEN = ("/login", "/static/")
"""What is there without a token."""
HEAD = 16 << 10
"""Bytes of a request's address and headers at most."""
BODY, BODY_SECONDS = 1 << 16, 60.0
"""Bytes of a body that is no piece of a file, and seconds for any body."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src-elem 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class AccessRules:
    """Who is let in."""

    names: tuple[str, ...] = ()
    """Host names of this server; addresses and localhost need no mention."""
    token: str | None = field(default=None, repr=False)
    """The token that every client must send; None if no token is needed."""
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """The cookie of a browser that has sent the token."""

    def check_host(self, host: str) -> None:
        """Refusal for a name that is not this server's: a page elsewhere may have its own name lead here, but
        cannot have an address as its name."""
        name = urlsplit(f"//{host}").hostname or ""
        if name != "localhost" and name not in self.names and not is_address(name):
            raise Refusal(
                421, "this server does not know that host name; use its address, or start it with --names"
            )

    def check_origin(self, headers: Headers) -> None:
        """Refusal for a change that another site's page asks for."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
        if foreign or site not in ("same-origin", "none"):
            raise Refusal(403, "only this server's own pages may send this request")

    def knows(self, headers: Headers) -> bool:
        """Whether who asks has shown the token."""
        if self.token is None:
            return True
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(shown.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, self.session)

    def is_token(self, shown: str) -> bool:
        """Whether it is the token."""
        return self.token is not None and same(shown, self.token)


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell how far they are."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())


def is_address(name: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


class Guard:
    """The server's outer wall, around an ASGI app."""

    def __init__(self, app: ASGIApp, rules: AccessRules, body_seconds: float = BODY_SECONDS) -> None:
        self.app, self.rules, self.body_seconds = app, rules, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in extra if one[0] not in there)]
            await send(message)

        try:
            self.check(scope)
            body = await self.body_of(scope, receive)
        except Refusal as refusal:
            await refuse(refusal, scope, send_sealed)
            return
        if body is not None:
            await self.app(scope, replay(body, receive), send_sealed)

    def check(self, scope: Scope) -> None:
        """Refusal for a request from the wrong place or without the token."""
        headers = Headers(scope=scope)
        if len(scope["raw_path"]) + sum(len(name) + len(value) for name, value in headers.raw) > HEAD:
            raise Refusal(431, f"the head of a request may have at most {HEAD} bytes; this one has more")
        try:
            self.rules.check_host(headers.get("host", ""))
            if scope["method"] not in ("GET", "HEAD"):
                self.rules.check_origin(headers)
        except ValueError:  # urlsplit's, of what is no address of anything
            raise Refusal(400, "the Host or Origin header is not valid") from None
        if not scope["path"].startswith(OPEN) and not self.rules.knows(headers):
            raise Refusal(401, "send the token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    async def body_of(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where who asks went away. Refusal for one that is too large or too slow."""
        headers = Headers(scope=scope)
        most = PIECE if headers.get("content-type", "") == "application/octet-stream" else BODY
        stated = headers.get("content-length", "0")
        too_large = Refusal(413, f"a body has at most {most} bytes; this one has more")
        if stated.isdecimal() and int(stated[:20]) > most:
            raise too_large
        found = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    found += message.get("body", b"")
                    if len(found) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(found)
        except TimeoutError:
            raise Refusal(
                408, f"the body took longer than {self.body_seconds:.0f} seconds; send it again"
            ) from None


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read before, once more; then whatever comes."""
    left = [body]

    async def receive_again() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return receive_again


async def refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Answer with a refusal; a person without the token is led to the form."""
    headers = {"content-type": "application/json", **(refusal.headers or {})}
    status, body = refusal.status_code, json.dumps({"detail": refusal.sentence}).encode()
    if status == 401 and not scope["path"].startswith("/api/"):
        status, headers, body = 303, {"location": "/login"}, b""
    if status in (408, 413):
        headers["connection"] = "close"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
