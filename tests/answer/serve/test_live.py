"""The server as people start it: a study in, an answer out, and nobody named anywhere."""

from __future__ import annotations

import json

import jsonschema

from echojepa.answer.values import NOTICE, StudyAnswer
from echojepa.answer.writing.document import document_of, schema

from ..conftest import Made
from .conftest import Live, send, settled


def test_a_study_that_is_uploaded_gets_the_answer_that_predict_gives(
    live: Live, made: Made, answered: StudyAnswer
) -> None:
    files = [path.read_bytes() for path in sorted(made.tested.iterdir())]
    with live.client() as client:
        job = send(client, files)
        assert client.post(f"/api/jobs/{job}/start").status_code == 202
        said = settled(client, job)
        assert said["state"] == "done" and said["studies"] == 1, said
        document = client.get(f"/api/jobs/{job}/studies/1").json()
        jsonschema.validate(document, schema())
        expected = json.loads(json.dumps(document_of(answered)))
        assert document["tasks"] == expected["tasks"] and document["loops"] == expected["loops"]
        assert NOTICE in client.get(f"/jobs/{job}/studies/1").text
