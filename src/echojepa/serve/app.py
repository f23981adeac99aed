"""The app: the API and the pages behind one wall, and what is said of a mistake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match

from echojepa.errors import UserError
from echojepa.files.durable import disk_full
from echojepa.serve.access import BODY_SECONDS, AccessRules, Guard
from echojepa.serve.api import api_router
from echojepa.serve.pages import NOT_THERE, Pages, page_router
from echojepa.serve.service import Service
from echojepa.version import __version__

CLEANING = 15.0
"""Seconds between looks at what has had its time."""


def build_app(service: Service, rules: AccessRules, body_seconds: float = BODY_SECONDS) -> Guard:
    """The whole server as an ASGI app; nothing third-party is on any page."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cleaning = asyncio.create_task(clean(service))
        yield
        cleaning.cancel()
        with suppress(asyncio.CancelledError):
            await cleaning

    app = FastAPI(
        title="echojepa serve",
        version=__version__,
        description="Answers for echocardiography studies. Research use only. Not a medical device.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    shown = [Depends(HTTPBearer(auto_error=False))] if rules.token else []  # described here, held by the wall
    app.include_router(api_router(service, __version__), dependencies=shown)
    app.include_router(page_router(service, rules))
    add_mistakes(app, Pages(service, rules))
    return Guard(app, rules, body_seconds)


async def clean(service: Service) -> None:
    """Delete what has had its time, again and again."""
    while True:
        await run_in_threadpool(service.delete_expired)
        await asyncio.sleep(CLEANING)


def add_mistakes(app: FastAPI, pages: Pages) -> None:
    """A sentence for every refusal: JSON from the API, a page from a page."""

    def say(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": sentence}, status, headers)
        return pages.message(status, sentence)

    @app.exception_handler(AnyHTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        sentence = str(error.detail)
        if " " not in sentence or sentence in ("Not Found", "Method Not Allowed"):
            sentence = NOT_THERE.get(error.status_code, sentence)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(taken_at(app, request))
        return say(request, error.status_code, sentence, headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        return say(request, 422, f"the request does not match the API's description: {wrong}")

    @app.exception_handler(UserError)
    def user_error(request: Request, error: UserError) -> Response:
        return say(request, 409, str(error))

    @app.exception_handler(OSError)
    def no_room(request: Request, error: OSError) -> Response:
        if not disk_full(error):
            raise error
        return say(request, 507, "the server's disk is full; delete a study, or try again later")


def taken_at(app: FastAPI, request: Request) -> list[str]:
    """Methods that an address takes; the router names those of one operation of it alone."""
    methods = ("DELETE", "GET", "POST", "PUT")
    scopes = {method: {**request.scope, "method": method} for method in methods}
    return [
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in app.routes)
    ]
