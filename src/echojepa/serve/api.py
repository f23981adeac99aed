"""The JSON API, described by OpenAPI at /api/openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from echojepa.answer.values import NOTICE
from echojepa.answer.worker import Ready
from echojepa.serve.refusals import Refusal
from echojepa.serve.reviews import LONGEST
from echojepa.serve.service import DOWNLOADS, JobOut, ServedLimits, Service
from echojepa.serve.uploads import UploadedFile

LARGEST = 1 << 50
MOST_ANNOUNCED = 2000
"""Maximum number of files in one announcement."""
JobId = Annotated[str, Path(pattern="^[0-9a-f]{24}$", description="As it was made.")]
Number = Annotated[int, Path(ge=1, le=1_000_000)]
TaskName = Annotated[str, Path(min_length=1, max_length=100)]


class Sentence(BaseModel):
    """Why a request was refused, and what to do."""

    detail: str


class ServerView(BaseModel):
    """The model and the limits of this server."""

    notice: str
    version: str
    model: Ready
    limits: ServedLimits


def as_integer(value: Any) -> Any:
    """3 for 3.0, which are the same in JSON; other values unchanged, and `true` is not a number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


FileSize = Annotated[int, Field(ge=0, le=LARGEST, strict=True), BeforeValidator(as_integer)]


class NewFiles(BaseModel):
    """Sizes of the files to upload, in their order."""

    model_config = ConfigDict(extra="forbid")
    sizes: list[FileSize] = Field(min_length=1, max_length=MOST_ANNOUNCED)


class NewReview(BaseModel):
    """A person's verdict on an answer. Do not give names in it."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["accepted", "rejected"]
    reason: str = Field("", max_length=LONGEST)


def says(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusal statuses of an operation, for the description."""
    always = (400, 401, 403, 408, 413, 421, 422)
    return {status: {"model": Sentence} for status in sorted({*always, *statuses})}


A_FILM: dict[str, Any] = {
    "response_class": Response,
    "responses": {**says(404, 409), 200: {"content": {"application/json": {}}}},
}
"""What an operation that gives a film answers with: the JSON of its file, as it is."""


def api_router(service: Service, version: str) -> APIRouter:
    """Every operation of the API."""
    api = APIRouter(prefix="/api")

    @api.get("/server", responses=says())
    def server() -> ServerView:
        """The model that answers, and the limits of the server."""
        return ServerView(notice=NOTICE, version=version, model=service.model, limits=service.limits)

    @api.get("/jobs", responses=says())
    def jobs() -> list[JobOut]:
        """All studies on the server, newest first."""
        return [service.view(record.id) for record in service.store.all()]

    @api.post("/jobs", status_code=201, responses=says(429, 507))
    def create() -> JobOut:
        """Create a study. Then announce its files, send them, and start it."""
        return service.view(service.store.create().id)

    @api.get("/jobs/{job}", responses=says(404))
    def view(job: JobId) -> JobOut:
        """Get the state of a study."""
        return service.view(job)

    @api.delete("/jobs/{job}", status_code=204, responses=says(404))
    def delete(job: JobId) -> None:
        """Delete a study and its results, in any state."""
        service.delete(job)

    add_uploads(api, service)
    add_answers(api, service)
    return api


def add_uploads(api: APIRouter, service: Service) -> None:
    """Operations to upload a study."""

    @api.post("/jobs/{job}/files", status_code=201, responses=says(404, 409))
    def announce(job: JobId, new: NewFiles) -> list[UploadedFile]:
        """Announce the files by their sizes. Files have no names here, only numbers."""
        return service.uploads.announce(job, new.sizes)

    @api.put(
        "/jobs/{job}/files/{file}",
        responses=says(404, 409, 415, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def append(
        request: Request, job: JobId, file: Number, offset: Annotated[int, Query(ge=0, le=LARGEST)]
    ) -> UploadedFile:
        """Send a piece that begins at `offset`; it is stored completely or not at all. After an interruption,
        get the state, or send any piece: the refusal's header Upload-Offset gives the next offset."""
        if request.headers.get("content-type") != "application/octet-stream":
            raise Refusal(415, "a piece of a file must have the type application/octet-stream")
        return await run_in_threadpool(service.uploads.append, job, file, offset, await request.body())

    @api.post("/jobs/{job}/start", status_code=202, responses=says(404, 409, 429))
    def start(job: JobId) -> JobOut:
        """Start a study, once all its files are complete."""
        return service.start(job)


def add_answers(api: APIRouter, service: Service) -> None:
    """Operations on answers."""

    @api.get("/jobs/{job}/studies/{number}", responses=says(404, 409))
    def answer(job: JobId, number: Number) -> dict[str, Any]:
        """Get an answer: the content of prediction.json."""
        return service.document(job, number)

    @api.get(
        "/jobs/{job}/studies/{number}/files/{name}",
        response_class=FileResponse,
        responses={
            **says(404, 409),
            200: {"content": {kind.split(";")[0]: {} for kind in DOWNLOADS.values()}},
        },
    )
    def download(job: JobId, number: Number, name: TaskName) -> Response:
        """Get prediction.json, .csv or .html; for a DICOM study also prediction.sr.dcm and
        prediction.key.dcm, which name the patient."""
        path = service.download(job, number, name)
        return FileResponse(path, media_type=DOWNLOADS[name], filename=name)

    @api.get("/jobs/{job}/studies/{number}/films/{loop}", **A_FILM)
    def film(job: JobId, number: Number, loop: Number) -> Response:
        """Get a loop's frames as data URIs, with the milliseconds that each is shown."""
        return Response(service.film(job, number, loop).read_bytes(), media_type="application/json")

    @api.get("/jobs/{job}/studies/{number}/films/{loop}/attention", **A_FILM)
    def attention(job: JobId, number: Number, loop: Number) -> Response:
        """Get the same film with the last layer's attention, for a loop behind a number."""
        path = service.film(job, number, loop, attention=True)
        return Response(path.read_bytes(), media_type="application/json")

    @api.put("/jobs/{job}/studies/{number}/reviews/{task}", responses=says(404, 409))
    def review(job: JobId, number: Number, task: TaskName, new: NewReview) -> dict[str, Any]:
        """Accept or reject an answer; returns the document with the review."""
        return service.review(job, number, task, new.verdict, new.reason)

    @api.delete("/jobs/{job}/studies/{number}/reviews/{task}", responses=says(404, 409))
    def unreview(job: JobId, number: Number, task: TaskName) -> dict[str, Any]:
        """Withdraw a review; returns the document without it."""
        return service.review(job, number, task, None, "")
