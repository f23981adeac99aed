"""The server as people start it: a study in, an answer out, and nobody named anywhere."""

from __future__ import annotations

import io
import json
import random
import threading
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jsonschema
import pytest
from identifiers import ATTRIBUTES, PlantedStudy

from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.document import document_of, schema

from ..conftest import Made
from .conftest import Live, send, settled, started

MUTANTS = 120


def answer_of(client: httpx.Client, files: list[bytes]) -> tuple[str, dict]:
    """Id and end of a study."""
    job = send(client, files)
    assert client.post(f"/api/jobs/{job}/start").status_code == 202
    return job, settled(client, job)


def zip_of(entries: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


def mutant(whole: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut, doubled or put in, most of them in the header."""
    changed = bytearray(whole)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(min(len(changed), 3000) if chance.random() < 0.8 else len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            changed[at : at + chance.randint(1, 40)] = chance.randbytes(chance.randint(0, 40))
        elif kind == 2:
            changed[at:at] = changed[at : at + chance.randint(1, 400)]
        elif chance.random() < 0.3 and at > 200:
            del changed[at:]
    return bytes(changed)


def test_a_study_that_is_uploaded_gets_the_answer_that_predict_gives(
    live: Live, made: Made, answered: StudyAnswer
) -> None:
    """As files, and as a zip with names that lead elsewhere."""
    files = [path.read_bytes() for path in sorted(made.tested.iterdir())]
    expected = json.loads(json.dumps(document_of(answered)))
    named = {f"../../{number}.dcm": content for number, content in enumerate(files)}
    with live.client() as client:
        for sent in (files, [zip_of(named)]):
            job, said = answer_of(client, sent)
            assert said["state"] == "done" and said["studies"] == 1, said
            document = client.get(f"/api/jobs/{job}/studies/1").json()
            jsonschema.validate(document, schema())
            assert document["tasks"] == expected["tasks"] and document["loops"] == expected["loops"]
            assert {path.name for path in (live.out / "jobs" / job).iterdir()} == {"job.json", "studies"}
    assert not list(live.out.parent.rglob("*0.dcm")), "a name in a zip leads nowhere"


def test_no_identifier_is_in_any_page_file_name_or_log(live: Live, planted: PlantedStudy) -> None:
    """Of forty kinds: in files of a zip and in their names there, and in a file that is no study."""
    entries = {str(path.relative_to(planted.folder.parent)): path for path in planted.folder.iterdir()}
    packed = zip_of({name: path.read_bytes() for name, path in entries.items()})
    with live.client() as client:
        job, said = answer_of(client, [packed, b"SECRETTEXT"])
        at = f"/api/jobs/{job}/studies/1"
        assert said["state"] == "done", said
        client.put(f"{at}/reviews/lvef", json={"verdict": "accepted", "reason": "well seen"})
        pages = ["/", f"/jobs/{job}/studies/1", f"/api/jobs/{job}", at, f"{at}/films/1", "/api/jobs"]
        pages += [f"{at}/files/prediction.{kind}" for kind in ("json", "csv", "html")]
        texts = [client.get(page) for page in pages]
        assert all(text.status_code == 200 for text in texts)
        report = client.get(f"{at}/files/prediction.sr.dcm").content
    assert ATTRIBUTES["PatientID"].encode() in report, "what goes back names its patient"
    places = [path for path in (live.out / "jobs" / job).rglob("*") if path.suffix != ".dcm"]
    told = [text.text + str(text.headers) for text in texts] + [str(place) for place in places]
    told += [path.read_text() for path in places if path.is_file()] + [live.log.read_text()]
    assert not planted.told_in(told)
    assert "Traceback" not in live.log.read_text() and "arning" not in live.log.read_text()


def test_bombs_and_things_that_are_no_study_cost_themselves_alone(live: Live, made: Made) -> None:
    bomb = zip_of({str(number): bytes(60_000_000) for number in range(2)})
    lying = bytearray(zip_of({"a": bytes(20_000_000)}))
    for at in (lying.index(b"PK\x03\x04") + 22, lying.index(b"PK\x01\x02") + 24):
        lying[at : at + 4] = (10).to_bytes(4, "little")
    with live.client() as client:
        expected = {
            "the zip has 2 files of 120 MB": [bomb],
            "the zip is empty": [zip_of({})],
        }
        for sentence, files in expected.items():
            _, said = answer_of(client, files)
            assert said["state"] == "failed" and sentence in said["sentence"], said
        job, said = answer_of(client, [b"", b"\0" * 1000, b"%PDF-1.7", bytes(lying)])
        assert said["state"] == "done", said
        document = client.get(f"/api/jobs/{job}/studies/1").json()
        assert document["unused_files"][3]["reason"] == "damaged in the zip" and not document["loops"]
        assert "No answer" in client.get(f"/jobs/{job}/studies/1").text
        assert answer_of(client, [next(made.tested.iterdir()).read_bytes()])[1]["state"] == "done"


def test_damaged_files_are_named_with_their_reason_and_the_sound_one_is_read(live: Live, made: Made) -> None:
    chance = random.Random(23)
    whole = next(made.tested.glob("A4C*")).read_bytes()
    with live.client() as client:
        job, said = answer_of(client, [whole, *(mutant(whole, chance) for _ in range(MUTANTS))])
        assert said["state"] == "done", said
        told: Counter[str] = Counter()
        for number in range(1, said["studies"] + 1):
            document = client.get(f"/api/jobs/{job}/studies/{number}").json()
            jsonschema.validate(document, schema())
            assert client.get(f"/jobs/{job}/studies/{number}").status_code == 200
            told.update(
                ["loop"] * len(document["loops"]) + [file["reason"] for file in document["unused_files"]]
            )
    assert sum(told.values()) == MUTANTS + 1 and told["loop"] >= 1 and len(told) > 3


@pytest.mark.slow
def test_fifty_studies_at_once_are_answered_one_after_the_other_or_told_to_come_again(
    free_model: Path, made: Made, tmp_path: Path
) -> None:
    """By the real worker: 40 are held, 8 wait at a time; none is lost, none gets a 500."""
    files = [path.read_bytes() for path in sorted(made.tested.iterdir())]
    server, statuses = started(free_model, tmp_path, "--queue", "8", "--studies", "40"), Counter()

    def one(number: int) -> str:
        with server.client() as client:
            client.event_hooks["response"] = [lambda said: statuses.update([said.status_code])]
            made_here = client.post("/api/jobs")
            if made_here.status_code == 429:
                return "refused"
            job = send(client, files, job=made_here.json()["id"])
            while (begun := client.post(f"/api/jobs/{job}/start")).status_code == 429:
                threading.Event().wait(2)
            assert begun.status_code == 202, begun.text
            said = settled(client, job, 2)
            document = client.get(f"/api/jobs/{job}/studies/1").json()
            return "answered" if document["tasks"][0]["value"] else said["sentence"]

    try:
        with ThreadPoolExecutor(50) as pool:
            seen = Counter(pool.map(one, range(50)))
    finally:
        print(statuses)
        server.process.terminate()
        stopped = server.process.wait(60)
    assert seen == {"answered": 40, "refused": 10} and not [code for code in statuses if code >= 500]
    assert stopped == 0 and "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_a_thousand_damaged_uploads(free_model: Path, made: Made, tmp_path: Path) -> None:
    """Each a study of its own: DICOM, zips and nonsense; every one ends in a sentence or an answer."""
    chance, seen = random.Random(7), Counter()
    wholes = [path.read_bytes() for path in sorted(made.tested.iterdir())]
    packed = zip_of({"a": wholes[0]})
    server = started(free_model, tmp_path)
    try:
        with server.client() as client:
            for number in range(1000):
                whole = packed if number % 4 == 3 else wholes[number % 3]
                job, said = answer_of(client, [mutant(whole, chance)])
                seen[said["state"], said["sentence"]] += 1
                if said["state"] == "done":
                    jsonschema.validate(client.get(f"/api/jobs/{job}/studies/1").json(), schema())
                client.delete(f"/api/jobs/{job}")
            job, said = answer_of(client, wholes)
            document = client.get(f"/api/jobs/{job}/studies/1").json()
            assert said["state"] == "done" and document["tasks"][0]["value"]
    finally:
        print(*seen.items(), sep="\n")
        server.process.terminate()
        stopped = server.process.wait(60)
    assert stopped == 0 and "Traceback" not in server.log.read_text()
