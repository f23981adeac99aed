"""The card's sections: which items each answers, what records say, and what none can say."""

from __future__ import annotations

from dataclasses import dataclass

from echojepa.report.card.checklists import CLAIM, SOURCES, TRIPOD, headings

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """What no record says."""

    what: str
    who: str
    """Who must say it."""


@dataclass(frozen=True)
class CardTable:
    """A small table of a section."""

    name: str
    """What a screen reader calls it."""
    columns: Cells
    rows: tuple[Cells, ...]


@dataclass(frozen=True)
class Section:
    """One heading of the card."""

    title: str
    tripod: str
    """Numbers of the items of TRIPOD+AI that it answers, by spaces."""
    claim: str
    """The same of CLAIM."""
    told: tuple[str, ...]
    """Sentences made of records."""
    missing: tuple[Missing, ...] = ()
    table: CardTable | None = None

    @property
    def items(self) -> str:
        """Numbers and headings of the items, for a reader of the checklists."""
        parts = [
            f"TRIPOD+AI {headings(TRIPOD, self.tripod.split())}" if self.tripod else "",
            f"CLAIM {headings(CLAIM, self.claim.split())}" if self.claim else "",
        ]
        return ". ".join(filter(None, parts)) + "."


def as_markdown(sections: list[Section]) -> str:
    """The card as a file that travels with weights."""
    sources = "; ".join(f"{name} ({source})" for name, source in SOURCES.items())
    lines = [
        "# Model card\n\nMade of the run's own records by `echojepa report`. Each heading names the items of "
        f"two checklists that it answers: {sources}. Facts without a record are marked, with the person "
        f"who must supply them.\n"
    ]
    for section in sections:
        lines += [f"\n## {section.title}\n", f"\n*{section.items}*\n\n"]
        lines += [f"- {sentence}\n" for sentence in section.told]
        lines += [
            f"- **Not on record: {one.what}.** To be supplied by {one.who}.\n" for one in section.missing
        ]
        if section.table:
            heads = section.table.columns
            lines.append("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads) + "\n")
            lines += ["| " + " | ".join(cells) + " |\n" for cells in section.table.rows]
    return "".join(lines)
