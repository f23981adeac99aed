"""The JSON API, described by OpenAPI at /api/openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from echojepa.answer.values import NOTICE
from echojepa.answer.worker import Ready, Step
from echojepa.serve.refusals import Refusal
from echojepa.serve.reviews import LONGEST
from echojepa.serve.service import DOWNLOADS, JobView, ServedLimits, Service
from echojepa.serve.uploads import UploadedFile

LARGEST = 1 << 50
MOST_ANNOUNCED = 2000
"""Files that are announced together."""
JobId = Annotated[str, Path(pattern="^[0-9a-f]{24}$", description="As it was made.")]
Number = Annotated[int, Path(ge=1, le=1_000_000)]
TaskName = Annotated[str, Path(min_length=1, max_length=100)]


class Sentence(BaseModel):
    """Why something was not done, and what to do."""

    detail: str


class ServerView(BaseModel):
    """What answers here."""

    notice: str
    version: str
    model: Ready
    limits: ServedLimits


def as_integer(value: Any) -> Any:
    """3 for 3.0, which JSON does not tell apart; all else as it is, and `true` is no number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


FileSize = Annotated[int, Field(ge=0, le=LARGEST, strict=True), BeforeValidator(as_integer)]


class NewFiles(BaseModel):
    """Files that will come, in their order."""

    model_config = ConfigDict(extra="forbid")
    sizes: list[FileSize] = Field(min_length=1, max_length=MOST_ANNOUNCED)


class NewReview(BaseModel):
    """What a person says of an answer; name nobody in it."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["accepted", "rejected"]
    reason: str = Field("", max_length=LONGEST)


class JobOut(BaseModel):
    """A study as it stands."""

    id: str
    number: int
    state: Literal["uploading", "waiting", "running", "done", "failed", "lost"]
    sentence: str
    """Why it failed or was lost."""
    files: list[UploadedFile]
    """While it is uploaded: how much is here."""
    before: int | None
    """Studies that come first, while it waits."""
    step: Step | None
    """What is being done, while it runs."""
    studies: int
    """Studies that were answered: /api/jobs/{id}/studies/1 and on."""

    @classmethod
    def of(cls, view: JobView) -> JobOut:
        """Of what the service knows."""
        record = view.record
        return cls(
            id=record.id,
            number=record.number,
            state=record.state.value,
            sentence=record.sentence,
            files=view.files,
            before=view.before,
            step=view.step,
            studies=record.studies,
        )


def says(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Statuses with which an operation refuses, for the description."""
    always = (400, 401, 403, 408, 413, 421, 422)
    return {status: {"model": Sentence} for status in sorted({*always, *statuses})}


def api_router(service: Service, version: str) -> APIRouter:
    """Every operation of the API."""
    api = APIRouter(prefix="/api")

    @api.get("/server", responses=says())
    def server() -> ServerView:
        """The model that answers, and the limits that are held."""
        return ServerView(notice=NOTICE, version=version, model=service.model, limits=service.limits)

    @api.get("/jobs", responses=says())
    def jobs() -> list[JobOut]:
        """All studies that the server holds, the newest first."""
        return [JobOut.of(service.view(record.id)) for record in service.store.all()]

    @api.post("/jobs", status_code=201, responses=says(429, 507))
    def create() -> JobOut:
        """Begin a study: announce its files, send them, start it."""
        return JobOut.of(service.view(service.store.create().id))

    @api.get("/jobs/{job}", responses=says(404))
    def view(job: JobId) -> JobOut:
        """How a study stands."""
        return JobOut.of(service.view(job))

    @api.delete("/jobs/{job}", status_code=204, responses=says(404))
    def delete(job: JobId) -> None:
        """Delete a study and all that was made of it, whatever is being done with it."""
        service.delete(job)

    add_uploads(api, service)
    add_answers(api, service)
    return api


def add_uploads(api: APIRouter, service: Service) -> None:
    """What brings a study in."""

    @api.post("/jobs/{job}/files", status_code=201, responses=says(404, 409))
    def announce(job: JobId, new: NewFiles) -> list[UploadedFile]:
        """Say which files will come, by their sizes. Files have no names here: they go by their place."""
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
        """Send a piece that begins at `offset`; it is kept whole or not at all. After a break ask how the
        study stands, or send any piece: the refusal's header Upload-Offset says where the next one begins."""
        if request.headers.get("content-type") != "application/octet-stream":
            raise Refusal(415, "a piece of a file must have the type application/octet-stream")
        return await run_in_threadpool(service.uploads.append, job, file, offset, await request.body())

    @api.post("/jobs/{job}/start", status_code=202, responses=says(404, 409, 429))
    def start(job: JobId) -> JobOut:
        """Have a study answered, once all its files are whole."""
        return JobOut.of(service.start(job))


def add_answers(api: APIRouter, service: Service) -> None:
    """What comes out."""

    @api.get("/jobs/{job}/studies/{number}", responses=says(404, 409))
    def answer(job: JobId, number: Number) -> dict[str, Any]:
        """An answer: what prediction.json holds."""
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
        """prediction.json, .csv and .html; where the study came in DICOM, prediction.sr.dcm and
        prediction.key.dcm, which carry its patient."""
        path = service.download(job, number, name)
        return FileResponse(path, media_type=DOWNLOADS[name], filename=name)

    @api.get(
        "/jobs/{job}/studies/{number}/films/{loop}",
        response_class=Response,
        responses={**says(404, 409), 200: {"content": {"application/json": {}}}},
    )
    def film(job: JobId, number: Number, loop: Number) -> Response:
        """A loop in pictures: data URIs, and for how many milliseconds each is shown."""
        return Response(service.film(job, number, loop).read_bytes(), media_type="application/json")

    @api.get(
        "/jobs/{job}/studies/{number}/films/{loop}/attention",
        response_class=Response,
        responses={**says(404, 409), 200: {"content": {"application/json": {}}}},
    )
    def attention(job: JobId, number: Number, loop: Number) -> Response:
        """The same film with attention of the last layer over it, of a loop that a number rests on."""
        path = service.film(job, number, loop, attention=True)
        return Response(path.read_bytes(), media_type="application/json")

    @api.put("/jobs/{job}/studies/{number}/reviews/{task}", responses=says(404, 409))
    def review(job: JobId, number: Number, task: TaskName, new: NewReview) -> dict[str, Any]:
        """Accept or reject an answer; the document with it."""
        return service.review(job, number, task, new.verdict, new.reason)

    @api.delete("/jobs/{job}/studies/{number}/reviews/{task}", responses=says(404, 409))
    def unreview(job: JobId, number: Number, task: TaskName) -> dict[str, Any]:
        """Take a review back; the document without it."""
        return service.review(job, number, task, None, "")
