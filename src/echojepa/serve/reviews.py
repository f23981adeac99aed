"""A person's verdict on an answer, written into all that was made of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from echojepa.answer.writing.films import read_films
from echojepa.answer.writing.output import JSON, write_document
from echojepa.answer.writing.structured_report import REPORT, write_reviews
from echojepa.files.records import read_plain
from echojepa.serve.refusals import Refusal

Verdict = Literal["accepted", "rejected"]
LONGEST = 500
"""Characters of a reason at most."""


def sentence_of(review: dict[str, Any]) -> str:
    """A review in words."""
    return f"{review['task']}: {review['verdict']} by a reader" + (
        f": {review['reason']}" if review["reason"] else "."
    )


def write_review(study: Path, task: str, verdict: Verdict | None, reason: str) -> dict[str, Any]:
    """Write what a person says of a task's answer; None takes it back. What the document is then.

    Refusal for a task that was not answered.
    """
    document = read_plain(study / JSON)
    answered = [one["name"] for one in document["tasks"] if one["value"] is not None]
    if task not in answered:
        raise Refusal(
            404,
            f"there is no such answer to review; the study has the answers {', '.join(answered) or 'none'}",
        )
    reviews = [one for one in document.pop("reviews", []) if one["task"] != task]
    if verdict:
        reviews.append({"task": task, "verdict": verdict, "reason": " ".join(reason.split())})
    if reviews:
        document["reviews"] = sorted(reviews, key=lambda one: one["task"])
    write_document(document, read_films(study), study)
    if (study / REPORT).is_file():
        write_reviews(study / REPORT, [sentence_of(one) for one in reviews])
    return document
