"""A person's verdict on an answer, written into all that was made of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from echojepa.answer.writing.films import Film
from echojepa.answer.writing.output import JSON, write_document
from echojepa.files.records import decode_plain, read_plain, read_record
from echojepa.serve.refusals import Refusal
from echojepa.serve.worker import FILMS, POSTERS

Verdict = Literal["accepted", "rejected"]
LONGEST = 500
"""Characters of a reason at most."""


def posters_of(study: Path) -> dict[int, Film]:
    """The picture that stands for each loop, by its number."""
    plain = read_plain(study / FILMS / POSTERS)
    return {int(loop): decode_plain(Film, film) for loop, film in plain.items()}


def films_in(study: Path) -> dict[int, Film]:
    """The whole film of each loop, by its number."""
    return {loop: read_record(Film, study / FILMS / f"{loop}.json") for loop in posters_of(study)}


def write_review(study: Path, task: str, verdict: Verdict | None, reason: str) -> dict[str, Any]:
    """Write what a person says of a task's answer; None takes it back. What the document is then.

    Refusal for a task that was not answered.
    """
    document = read_plain(study / JSON)
    answered = [one["name"] for one in document["tasks"] if one["value"] is not None]
    if task not in answered:
        raise Refusal(
            404, f"there is no such answer to review; the study has {', '.join(answered) or 'none'}"
        )
    reviews = [one for one in document.pop("reviews", []) if one["task"] != task]
    if verdict:
        reviews.append({"task": task, "verdict": verdict, "reason": " ".join(reason.split())})
    if reviews:
        document["reviews"] = sorted(reviews, key=lambda one: one["task"])
    write_document(document, films_in(study), study)
    return document
