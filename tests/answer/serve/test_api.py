"""What the JSON API holds to, with a worker that is made up: uploads that resume, a queue, limits, access."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import jsonschema
import pydicom
import pytest
from fastapi.testclient import TestClient
from puppet_worker import MAIN

from echojepa.answer import process
from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.document import schema
from echojepa.config import ConfigError, ListenConfig, ServeConfig
from echojepa.errors import UserError
from echojepa.serve.access import AccessRules
from echojepa.serve.app import build_app
from echojepa.serve.jobs import JobStore
from echojepa.serve.server import serve as run_server
from echojepa.serve.server import token_of
from echojepa.serve.service import ServedLimits, Service

from .conftest import LIMITS, MODEL, Puppet, send, settled

TOKEN = "a token that nobody guesses"
RAW = {"Content-Type": "application/octet-stream"}
JSON_TYPE = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Clock:
    """Time that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(written: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server in this process; the same folder again is a restart."""
    running: list[Service] = []

    def start(
        puppet: Puppet | None = None, *, keep: bool = False, clock: Clock | None = None,
        rules: AccessRules | None = None, body_seconds: float = 5, host: str = "localhost",
    ) -> TestClient:  # fmt: skip
        seconds = None if keep else 3600.0
        store = JobStore(tmp_path / "out", LIMITS.studies, seconds, clock or Clock())
        service = Service(store, LIMITS, puppet or Puppet(written), MODEL)
        running.append(service)
        app = build_app(service, rules or AccessRules(), body_seconds)
        client = TestClient(app, base_url=f"http://{host}", follow_redirects=False)
        client.service = service  # pyright: ignore[reportAttributeAccessIssue]
        return client

    yield start
    for service in running:
        service.runner.stop()


def done(client: TestClient, files: tuple[bytes, ...] = (b"x",)) -> str:
    job = send(client, list(files))
    assert client.post(f"/api/jobs/{job}/start").status_code == 202
    assert settled(client, job)["state"] == "done"
    return job


def test_an_upload_resumes_where_it_was_cut(serve: Serve) -> None:
    """A piece is kept whole or not at all; a wrong place is refused, and the right one is said."""
    client = serve()
    job = client.post("/api/jobs").json()["id"]
    client.post(f"/api/jobs/{job}/files", json={"sizes": [5, 0]})

    def put(offset: int, piece: bytes) -> httpx.Response:
        return client.put(f"/api/jobs/{job}/files/1?offset={offset}", content=piece, headers=RAW)

    assert put(0, b"abc").json()["offset"] == 3
    assert put(0, b"abc").json()["offset"] == put(1, b"b").json()["offset"] == 3, "it is here already"
    other = put(1, b"x")
    assert other.status_code == 409 and "differs from the one that was begun" in other.text
    wrong = put(2, b"cd")
    assert wrong.status_code == 409 and wrong.headers["Upload-Offset"] == "3" and "byte 3" in wrong.text
    assert put(3, b"def").status_code == 413
    early = client.post(f"/api/jobs/{job}/start")
    assert early.status_code == 409 and "3 of 5 bytes" in early.text
    assert client.get(f"/api/jobs/{job}").json()["files"][0] == {"file": 1, "size": 5, "offset": 3}
    assert put(3, b"de").json()["offset"] == 5
    (folder,) = client.service.store.folder.iterdir()
    assert (folder / "input/000001").read_bytes() == b"abcde" and (
        folder / "input/000002"
    ).stat().st_size == 0
    assert client.post(f"/api/jobs/{job}/start").status_code == 202
    assert client.post(f"/api/jobs/{job}/start").status_code == 409, "once is enough"
    assert put(5, b"").status_code == 409


def test_limits_are_said_and_held(serve: Serve) -> None:
    client = serve()
    said = client.get("/api/server").json()["limits"]
    assert said["bytes"] == 3000 and said["files"] == 3 and said["minutes"] == 60
    job = client.post("/api/jobs").json()["id"]
    for sizes in ([3001], [1, 1, 1, 1]):
        refused = client.post(f"/api/jobs/{job}/files", json={"sizes": sizes})
        assert refused.status_code == 413 and "3 files" in refused.text
    for _ in range(LIMITS.studies - 1):
        assert client.post("/api/jobs").status_code == 201
    full = client.post("/api/jobs")
    assert full.status_code == 429 and full.headers["Retry-After"]
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    assert client.post("/api/jobs").status_code == 201
    home = client.get("/").text
    assert all(words in home for words in ("at most 3</dd>", "5 s", "2 may wait", "60 minutes"))


def test_studies_are_answered_one_after_the_other_and_a_full_queue_says_so(
    serve: Serve, written: Path
) -> None:
    go, seen = threading.Event(), []

    def hold(folder: Path) -> bool:
        seen.append(folder.name) if folder.name not in seen else None
        return not go.wait(0.01)

    client = serve(Puppet(written, hold))
    jobs = [send(client, [b"x"]) for _ in range(4)]
    assert client.post(f"/api/jobs/{jobs[0]}/start").status_code == 202
    while client.get(f"/api/jobs/{jobs[0]}").json()["step"] != {
        "done": 1,
        "total": 3,
        "doing": "reading files",
    }:
        pass
    assert "Reading files: 1 of 3" in client.get(f"/jobs/{jobs[0]}").text
    assert [client.post(f"/api/jobs/{job}/start").status_code for job in jobs[1:]] == [202, 202, 429]
    assert [client.get(f"/api/jobs/{job}").json()["before"] for job in jobs] == [None, 1, 2, None]
    assert client.get(f"/api/jobs/{jobs[3]}").json()["state"] == "uploading", "nothing is lost"
    assert client.get(f"/api/jobs/{jobs[1]}/studies/1").status_code == 409
    assert client.delete(f"/api/jobs/{jobs[1]}").status_code == 204
    go.set()
    assert settled(client, jobs[2])["state"] == "done"
    assert client.post(f"/api/jobs/{jobs[3]}/start").status_code == 202
    assert settled(client, jobs[3])["state"] == "done"
    assert seen == [jobs[0], jobs[2], jobs[3]]


def test_a_study_that_is_deleted_while_it_is_answered_is_given_up(serve: Serve, written: Path) -> None:
    client = serve(Puppet(written, lambda folder: True))
    job = send(client, [b"x"])
    client.post(f"/api/jobs/{job}/start")
    while client.get(f"/api/jobs/{job}").json()["state"] != "running":
        pass
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    assert client.get(f"/api/jobs/{job}").status_code == 404
    assert not list(client.service.store.folder.iterdir())


def test_a_failure_is_a_sentence_and_what_was_uploaded_is_gone(serve: Serve, written: Path) -> None:
    client = serve(Puppet(written, sentence="the zip is empty"))
    job = send(client, [b"x"])
    client.post(f"/api/jobs/{job}/start")
    assert settled(client, job)["sentence"] == "the zip is empty"
    assert "Failed: the zip is empty" in client.get(f"/jobs/{job}").text
    assert [path.name for path in client.service.store.place(job).iterdir()] == ["job.json"]


def test_a_verdict_and_its_reason_are_in_every_output_and_can_be_taken_back(serve: Serve) -> None:
    client = serve()
    job = done(client)
    at = f"/api/jobs/{job}/studies/1"
    put = client.put(f"{at}/reviews/lvef", json={"verdict": "rejected", "reason": "=foreshortened <b>"})
    assert put.status_code == 200
    document = client.get(f"{at}/files/prediction.json").json()
    jsonschema.validate(document, schema())
    expected = {"task": "lvef", "verdict": "rejected", "reason": "=foreshortened <b>"}
    assert document["reviews"] == [expected] and document["format_version"] == 3
    assert "rejected,'=foreshortened <b>" in client.get(f"{at}/files/prediction.csv").text
    for page in (client.get(f"{at}/files/prediction.html").text, client.get(f"/jobs/{job}/studies/1").text):
        assert "<b>Rejected</b> by a reader: =foreshortened &lt;b&gt;" in page
    folder = client.service.study(job, 1)
    report = pydicom.dcmread(folder / "prediction.sr.dcm")
    texts = [item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"]
    assert texts[-1] == "lvef: rejected by a reader: =foreshortened <b>"
    assert report.file_meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID
    assert (folder / "prediction.sr.dcm").stat().st_mode & 0o077 == 0
    form = {"verdict": "accepted", "reason": ""}
    assert client.post(f"/jobs/{job}/studies/1/reviews/lvef", data=form).status_code == 303
    again = pydicom.dcmread(folder / "prediction.sr.dcm")
    assert [i.TextValue for i in again.ContentSequence if i.ValueType == "TEXT"][
        -1
    ] == "lvef: accepted by a reader."
    assert again.SOPInstanceUID != report.SOPInstanceUID
    assert len(again.ContentSequence) == len(report.ContentSequence)
    assert "reviews" not in client.delete(f"{at}/reviews/lvef").json()
    assert client.put(f"{at}/reviews/rvsp", json={"verdict": "accepted"}).status_code == 404
    for bad in (
        {"verdict": "maybe"},
        {"verdict": "accepted", "reason": "x" * 501},
        {"verdict": "accepted", "by": "me"},
    ):
        assert client.put(f"{at}/reviews/lvef", json=bad).status_code == 422


def test_a_document_of_an_earlier_version_is_still_valid(serve: Serve) -> None:
    client = serve()
    document = client.get(f"/api/jobs/{done(client)}/studies/1").json()
    for loop in document["loops"]:
        del loop["end_diastole"]
    for version in (1, 2):
        jsonschema.validate({**document, "format_version": version}, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "format_version": 4}, schema())


def test_a_film_says_how_long_each_frame_lasted_and_downloads_are_files(
    serve: Serve, answered: StudyAnswer
) -> None:
    client = serve()
    at = f"/api/jobs/{done(client)}/studies/1"
    film = client.get(f"{at}/films/1").json()
    assert len(film["frames"]) == answered.loops[0].frames == len(film["ms"])
    assert film["ms"][0] == round(1000 * (answered.loops[0].row.times[1] - answered.loops[0].row.times[0]))
    used = [loop for loop in answered.loops if loop.used_for]
    assert used and "Show attention" in client.get(at.removeprefix("/api")).text
    for loop in answered.loops:
        covered = client.get(f"{at}/films/{loop.number}/attention")
        assert covered.status_code == (200 if loop in used else 404)
        if loop in used:
            plain = client.get(f"{at}/films/{loop.number}").json()
            assert covered.json()["ms"] == plain["ms"] and covered.json()["frames"] != plain["frames"]
    for name in (
        "prediction.json",
        "prediction.csv",
        "prediction.html",
        "prediction.sr.dcm",
        "prediction.key.dcm",
    ):
        said = client.get(f"{at}/files/{name}")
        assert said.status_code == 200 and said.headers["content-disposition"].startswith("attachment")
    for path in ("/files/job.json", "/files/..%2F..%2Fjob.json", "/films/99", "/films/..%2Fposters"):
        assert client.get(at + path).status_code in (404, 422)


def test_a_restart_keeps_what_is_done_where_asked_and_says_what_was_lost(
    serve: Serve, tmp_path: Path
) -> None:
    client = serve(keep=True)
    whole, cut = done(client), send(client, [b"x"])
    client = serve(keep=True)
    assert client.get(f"/api/jobs/{whole}/studies/1").status_code == 200
    assert client.get(f"/jobs/{whole}").headers["location"] == f"/jobs/{whole}/studies/1"
    assert client.get(f"/api/jobs/{cut}").json()["state"] == "lost"
    assert "Lost: the server stopped before it was finished" in client.get(f"/jobs/{cut}").text
    assert [path.name for path in (tmp_path / "out/jobs" / cut).iterdir()] == ["job.json"]
    assert send(client, [b"x"]) and client.get("/api/jobs").json()[0]["number"] == 3
    client = serve()
    gone = client.get(f"/jobs/{whole}")
    assert gone.status_code == 404 and "deleted when the server stops" in gone.text
    client.service.close()
    assert not list((tmp_path / "out/jobs").iterdir())


def test_results_are_deleted_after_their_time_and_work_is_not(serve: Serve, written: Path) -> None:
    clock, go = Clock(), threading.Event()
    client = serve(Puppet(written, lambda folder: not go.wait(0.01)), clock=clock)
    go.set()
    old = done(client)
    go.clear()
    busy = send(client, [b"x"])
    client.post(f"/api/jobs/{busy}/start")
    clock.now += 3601
    client.service.delete_expired()
    assert client.get(f"/api/jobs/{old}").status_code == 404
    assert client.get(f"/api/jobs/{busy}").status_code == 200


def test_a_folder_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UserError, match="not the folder of a server"):
        JobStore(tmp_path, 1, None)


def test_a_name_that_leads_here_from_elsewhere_and_another_site_s_page_are_refused(serve: Serve) -> None:
    """DNS rebinding: the page's own name, with the address of this machine."""
    client = serve(rules=AccessRules(names=("echo.hospital",)))
    for host in ("evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::1", "a b"):
        assert client.get("/", headers={"host": host}).status_code in (400, 421), host
    for host in ("localhost:80", "127.0.0.1:8377", "[::1]:8377", "192.168.1.5", "echo.hospital"):
        assert client.get("/", headers={"host": host}).status_code == 200, host
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/api/jobs", headers=headers).status_code == 403
    assert client.post("/api/jobs", headers={"origin": "http://localhost"}).status_code == 201


def test_with_a_token_nothing_is_there_without_it(serve: Serve) -> None:
    client = serve(rules=AccessRules(token=TOKEN), host="10.0.0.1")
    for method, path in (("GET", "/api/server"), ("POST", "/api/jobs"), ("GET", "/api/openapi.json")):
        assert client.request(method, path).status_code == 401
    assert client.get("/").headers["location"] == "/login"
    for wrong in ("Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xff"):
        assert (
            client.get("/api/server", headers={"authorization": wrong.encode("latin-1")}).status_code == 401
        )
    assert client.get("/api/server", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.post("/login", data={"token": "wrong"}).status_code == 403
    assert client.get("/").status_code == 303
    given = client.post("/login", data={"token": TOKEN})
    cookie = given.headers["set-cookie"]
    assert given.status_code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/").status_code == 200 and client.post("/api/jobs").status_code == 201
    client.post("/logout")
    assert client.get("/").status_code == 303


def test_beyond_this_machine_a_token_is_needed_and_one_is_made(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "echo.hospital"):
        with pytest.raises(ConfigError, match="--token"):
            ServeConfig(tmp_path, host=host)
        with pytest.raises(ConfigError, match="--allow"):
            ListenConfig(tmp_path, tmp_path, host=host)
        assert ServeConfig(tmp_path, host=host, token=tmp_path / "t").host == host
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert ServeConfig(tmp_path, host=host).host == ListenConfig(tmp_path, tmp_path, host=host).host
    made = token_of(ServeConfig(tmp_path, token=tmp_path / "made"))
    assert made is not None and len(made) > 40 and (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert made == token_of(ServeConfig(tmp_path, token=tmp_path / "made"))
    (tmp_path / "short").write_text("1234")
    with pytest.raises(UserError, match="at least 20"):
        token_of(ServeConfig(tmp_path, token=tmp_path / "short"))


def test_every_answer_forbids_scripts_that_are_not_the_server_s_own(serve: Serve) -> None:
    client = serve()
    for path in ("/", "/api/server", "/static/serve.js", f"/jobs/{done(client)}/studies/1", "/nothing"):
        said = client.get(path)
        policy = said.headers["content-security-policy"]
        assert "script-src 'self'" in policy and "default-src 'none'" in policy
        assert (
            said.headers["x-content-type-options"] == "nosniff"
            and said.headers["cache-control"] == "no-store"
        )
        if "text/html" in said.headers["content-type"]:
            assert "<script>" not in said.text and " onclick" not in said.text
            assert "http:" not in said.text and "https:" not in said.text


def test_what_is_wrong_with_a_request_is_a_sentence_and_never_a_500(serve: Serve) -> None:
    client = serve()
    job = done(client)
    wrong = [
        ("GET", "/nothing", {}, 404), ("GET", "/jobs/nothing", {}, 404),
        ("GET", "/static/..%2Fapp.py", {}, 404),
        ("GET", "/jobs/..%2F..%2Fetc", {}, 404), ("GET", "/api/jobs/" + "0" * 24, {}, 404),
        ("GET", f"/jobs/{job}/studies/2", {}, 404), ("GET", f"/jobs/{job}/studies/x", {}, 422),
        ("PATCH", "/api/jobs", {}, 405),
        ("POST", f"/api/jobs/{job}/files", {"json": {"sizes": [True]}}, 422), ("GET", "/api/jobs/x", {}, 422),
        ("POST", f"/api/jobs/{job}/files", {"content": b"{", "headers": JSON_TYPE}, 422),
        ("POST", f"/api/jobs/{job}/files", {"json": {"sizes": [-1]}}, 422),
        ("POST", f"/api/jobs/{job}/files", {"json": {"sizes": [1], "name": "SECRET"}}, 422),
        ("POST", f"/api/jobs/{job}/files", {"json": {"sizes": [1]}}, 409),
        ("POST", f"/api/jobs/{job}/files", {"json": {"sizes": [1] * 40_000}}, 413),
        ("PUT", f"/api/jobs/{job}/files/1?offset=0", {"content": b"x"}, 415),
        ("PUT", f"/api/jobs/{job}/files/1?offset=-1", {"content": b"x", "headers": RAW}, 422),
        ("PUT", f"/api/jobs/{job}/files/1?offset=0", {"content": bytes(5 << 20), "headers": RAW}, 413),
        ("POST", f"/jobs/{job}/studies/1/reviews/lvef", {"content": b"\xff=", "headers": FORM}, 400),
        ("POST", f"/jobs/{job}/studies/1/reviews/lvef", {"json": {}}, 415),
        ("POST", f"/jobs/{job}/studies/1/reviews/%00", {"data": {"verdict": "accepted"}}, 404),
    ]  # fmt: skip
    for method, path, more, status in wrong:
        said = client.request(method, path, **more)
        assert said.status_code == status, (method, path, said.text)
        assert "SECRET" not in said.text
        if path.startswith("/api/"):
            assert " " in said.json()["detail"]
        else:
            assert "<h1>That did not work</h1>" in said.text


def test_the_description_names_every_operation_and_every_refusal(serve: Serve) -> None:
    described = serve().get("/api/openapi.json").json()
    assert len(described["paths"]) == 11
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert {"401", "403", "413", "421", "422"} <= operation["responses"].keys()
    assert json.dumps(described).count("octet-stream") == 1


def test_a_model_that_is_missing_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAIN", MAIN)
    config = ServeConfig(tmp_path / "nowhere", out=tmp_path / "out", port=0)
    with pytest.raises(UserError, match="no such model"):
        run_server(config, lambda said: None)
    assert not list(tmp_path.iterdir())


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="queue must be at least 1"):
        ServeConfig(Path("m"), queue=0)
    with pytest.raises(ConfigError, match="port"):
        ServeConfig(Path("m"), port=70000)
    assert ServedLimits.of(replace(ServeConfig(Path("m")), keep=True)).minutes is None
