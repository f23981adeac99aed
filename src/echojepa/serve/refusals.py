"""What the server does not do, each with a sentence and a status."""

from __future__ import annotations

from fastapi import HTTPException


class Refusal(HTTPException):
    """The answer to a request that is not met: a whole sentence, and nothing of a patient's file."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)
        self.sentence = sentence


GONE = (
    "there is no such study here; studies are deleted when the server stops, after their time, or by a person"
)
