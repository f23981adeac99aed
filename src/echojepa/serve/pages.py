"""The pages, made on the server; one small script of our own uploads, tells progress and plays loops."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from echojepa.answer.values import NOTICE
from echojepa.answer.worker import Step
from echojepa.answer.writing.films import attention_of, posters_of
from echojepa.answer.writing.page import page_values, side_by_side
from echojepa.report.page import render
from echojepa.serve.access import COOKIE, AccessRules
from echojepa.serve.jobs import JobRecord, JobState
from echojepa.serve.refusals import GONE, Refusal
from echojepa.serve.reviews import LONGEST
from echojepa.serve.service import Service

STATIC = {
    "answer.css": ("echojepa.report", "text/css"),
    "players.js": ("echojepa.report", "text/javascript"),
    "serve.css": ("echojepa.serve", "text/css"),
    "serve.js": ("echojepa.serve", "text/javascript"),
}
"""Files that pages ask for: the package that each lies in, and what it is."""
Form = dict[str, str]


class Pages:
    """Fills templates with what every page shows."""

    def __init__(self, service: Service, rules: AccessRules) -> None:
        self.service, self.rules = service, rules

    def show(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page of this package."""
        return HTMLResponse(
            render(
                f"templates/{template}",
                "echojepa.serve",
                notice=NOTICE,
                model=self.service.model,
                limits=self.service.limits,
                guarded=self.rules.token is not None,
                **values,
            ),
            status,
        )

    def message(self, status: int, sentence: str) -> HTMLResponse:
        """A page that says why there is none."""
        return self.show("message.html", status, sentence=sentence)

    def home(self) -> HTMLResponse:
        """Where a study is dropped, and those that are there."""
        return self.show("home.html", jobs=[(record, told(record)) for record in self.service.store.all()])

    def job(self, job: str) -> Response:
        """How a study stands; its answer where there is one."""
        view, record = self.service.view(job), self.service.store.get(job)
        if record.state is JobState.DONE and self.is_one_study(job):
            return RedirectResponse(f"/jobs/{job}/studies/1", 303)
        return self.show("job.html", record=record, view=view, told=told(record, view.before, view.step))

    def is_one_study(self, job: str) -> bool:
        """Whether all answers of an upload are of one study: one, or one by each of two models."""
        studies = self.service.store.get(job).studies
        return studies == 1 or (
            studies == 2 and self.service.beside(job, 1, self.service.document(job, 1)) is not None
        )

    def study(self, job: str, number: Annotated[int, Path(ge=1)]) -> HTMLResponse:
        """An answer."""
        folder, document = self.service.study(job, number), self.service.document(job, number)
        place = f"/jobs/{job}/studies/{number}"
        served = {
            "films": f"/api{place}/films/",
            "attention": attention_of(folder),
            "reviews": f"{place}/reviews/",
            "longest": LONGEST,
        }
        values = page_values(document, posters_of(folder), served)
        values.pop("notice")
        other = self.service.beside(job, number, document)
        return self.show(
            "study.html",
            record=self.service.store.get(job),
            files=f"/api{place}/files/",
            downloads=self.service.downloads(job, number),
            beside=other and beside(number, document, *other),
            **values,
        )


def beside(number: int, document: dict[str, Any], other: int, theirs: dict[str, Any]) -> dict[str, Any]:
    """What the page of an answer shows of the other model's, too; the first model's stands first."""
    documents = [document, theirs] if number < other else [theirs, document]
    names = [one["model"]["name"] for one in documents]
    return {
        "names": names,
        "rows": side_by_side(*documents),
        "other": other,
        "other_name": theirs["model"]["name"],
    }


def told(record: JobRecord, before: int | None = None, step: Step | None = None) -> str:
    """How a study stands, in words."""
    if record.state is JobState.WAITING:
        return f"Waiting: {before} ahead of it" if before else "Waiting: it is next"
    if record.state is JobState.RUNNING and step:
        return f"{step.doing.capitalize()}: {step.done} of {step.total}" if step.total else "Starting"
    if record.state in (JobState.FAILED, JobState.LOST):
        return f"{record.state.value.capitalize()}: {record.sentence}"
    if record.state is JobState.DONE:
        return f"Done: {record.studies} {'answer' if record.studies == 1 else 'answers'}"
    return record.state.value.capitalize()


async def form_of(request: Request) -> Form:
    """The fields of a form; Refusal for a body that is none."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Refusal(415, "this page accepts only a form")
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise Refusal(400, "the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def page_router(service: Service, rules: AccessRules) -> APIRouter:
    """Every page."""
    pages, router = Pages(service, rules), APIRouter(include_in_schema=False)

    router.add_api_route("/", pages.home)
    router.add_api_route("/jobs/{job}", pages.job)
    router.add_api_route("/jobs/{job}/studies/{number}", pages.study)

    @router.post("/jobs/{job}/delete")
    def delete(job: str) -> RedirectResponse:
        service.delete(job)
        return RedirectResponse("/", 303)

    @router.post("/jobs/{job}/studies/{number}/reviews/{task}")
    async def review(
        request: Request, job: str, number: Annotated[int, Path(ge=1)], task: str
    ) -> RedirectResponse:
        form = await form_of(request)
        verdict, reason = form.get("verdict"), form.get("reason", "")
        if verdict not in ("accepted", "rejected", "none") or len(reason) > LONGEST:
            raise Refusal(
                422, f"choose accepted, rejected or none, with a reason of at most {LONGEST} characters"
            )
        await run_in_threadpool(
            service.review, job, number, task, None if verdict == "none" else verdict, reason
        )
        return RedirectResponse(f"/jobs/{job}/studies/{number}#answers", 303)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise Refusal(404, "there is no such file")
        package, kind = STATIC[name]
        place = resources.files(package)
        path = place / "static" / name if package == "echojepa.serve" else place / name
        return Response(path.read_bytes(), media_type=kind)

    add_login(router, pages, rules)
    return router


def add_login(router: APIRouter, pages: Pages, rules: AccessRules) -> None:
    """The form for the token."""

    @router.get("/login")
    def ask() -> Response:
        return pages.show("login.html", wrong=False) if rules.token else RedirectResponse("/", 303)

    @router.post("/login")
    async def login(request: Request) -> Response:
        if not rules.is_token((await form_of(request)).get("token", "").strip()):
            return pages.show("login.html", 403, wrong=True)
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, rules.session, httponly=True, samesite="strict", path="/")
        return response

    @router.post("/logout")
    def logout() -> RedirectResponse:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
        return response


NOT_THERE = {404: GONE, 405: "this address does not accept this method"}
"""What to say where a router says a word."""
