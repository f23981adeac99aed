"""What was converted becomes rows: patients get their ordinal and split, duplicates are told, in batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from echojepa.data.identity.people import People, most_guarded
from echojepa.data.identity.private import keep_pictures
from echojepa.data.identity.splits import assign_split
from echojepa.data.ingest.convert import ConvertedLoop, Refused
from echojepa.data.ingest.known import Known, Link
from echojepa.data.reading.rejection import Rejected
from echojepa.data.store.companions import REJECTED_SCHEMA
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import StoredLoop
from echojepa.vocabulary import Kind, Reason


@dataclass
class Came:
    """What one run brought in, counted as it comes."""

    loops: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Errors of this program itself, by kind and place: each cost a file."""
    moved: int = 0
    """Loops that are not in their official split, because their patient was in another before."""
    joined: int = 0
    """Patients of earlier batches that went to another split, because a file showed that they are a person
    who stands there."""

    def count(self, loop: StoredLoop) -> None:
        """Count a loop that was written."""
        self.loops += 1
        self.kinds[loop.kind] += 1
        self.views[loop.view or "not stated"] += 1
        self.splits[loop.split] += 1


class Registrar:
    """Gives patients their ordinal and split, refuses duplicates, and commits in batches."""

    def __init__(self, store: LoopStore, pictures: Path) -> None:
        self.store, self.pictures, self.split_seed = store, pictures, store.split_seed
        self.waiting: list[ConvertedLoop | Refused] = []
        self.came = Came()
        self.known = Known(store)

    def take(self, result: ConvertedLoop | Refused) -> None:
        """Accept a converted file."""
        self.waiting.append(result)

    def commit(self) -> None:
        """Write the waiting results. Links between patients are written before the loops that showed them, so
        a kill between the two loses nothing."""
        with self.store.lock():
            self.known.learn()
            loops, refused, links = self.sort_out()
            self.store.add_links(links)
            loops = self.put_in_splits(loops, links)
            keep_pictures(self.pictures, {r.file_id: r.picture for r in refused if r.picture})
            if loops:
                self.store.append(loops)
            columns = ((r.file_id, r.why.reason.value, r.why.detail) for r in refused)
            rows = [dict(zip(REJECTED_SCHEMA.names, row, strict=True)) for row in columns]
            self.store.replace_rejected(rows, came_in={loop.file_id for loop in loops})
        for loop in loops:
            self.came.count(loop)
        self.came.rejected.update(r.why.reason.value for r in refused)
        self.came.faults.update(r.why.detail for r in refused if r.why.reason == Reason.PROGRAM)
        self.waiting = []

    def sort_out(self) -> tuple[list[ConvertedLoop], list[Refused], set[Link]]:
        """New results: loops, refusals (with duplicates), and ids of one person that no row of the table will
        link."""
        loops: list[ConvertedLoop] = []
        refused, links = [], set[Link]()
        came = [result for result in self.waiting if isinstance(result, ConvertedLoop)]
        files = self.known.owners("file_id", [result.file_id for result in self.waiting])
        seen = self.known.owners("loop_id", [loop.loop_id for loop in came])
        seen |= self.known.owners("pixel_sha256", [loop.pixel_sha256 for loop in came])
        for result in self.waiting:
            if result.file_id in files:
                continue
            if isinstance(result, Refused):
                refused.append(result)
                links |= pairs(result.ids)
            elif twins := [seen[one] for one in (result.loop_id, result.pixel_sha256) if one in seen]:
                why = Rejected(Reason.DUPLICATE, "these pixels came in before")
                refused.append(Refused(result.file_id, why))
                # Two recordings are never alike; two empty stills may be.
                same = twins if result.kind == Kind.CINE else []
                links |= pairs((result.patient_id, result.study_id, *result.also, *same))
            else:
                for one in (result.loop_id, result.pixel_sha256):
                    seen[one] = result.patient_id
                loops.append(result)
                links |= pairs((result.patient_id, *result.also))
        return loops, refused, links - self.known.links

    def people_of(self, loops: list[ConvertedLoop], links: set[Link]) -> tuple[People, dict[str, int]]:
        """Who the new loops' patients are, with all that the table and the new links say of them, and the
        ordinals of those in the table."""
        ties = {*((loop.patient_id, loop.study_id) for loop in loops), *links}
        people, ordinals = self.known.people({one for tie in ties for one in tie})
        for tie in ties:
            people.tie(tie)
        return people, ordinals

    def put_in_splits(self, loops: list[ConvertedLoop], links: set[Link]) -> list[ConvertedLoop]:
        """The loops with their ordinal and their person's split; patients of the table who turn out to be one
        person with two splits go to the more guarded one."""
        people, ordinals = self.people_of(loops, links)
        patients = self.known.count_patients() if loops else 0
        official: dict[str, set[str]] = {}
        for loop in loops:
            if loop.split:
                official.setdefault(people.group(loop.patient_id), set()).add(loop.split)
        touched = dict.fromkeys([*(loop.patient_id for loop in loops), *(one for one, _ in links)])
        moved: dict[str, str] = {}
        for one in touched:
            there = people.splits(one)
            split = most_guarded(there.values())
            moved |= {patient: split for patient, other in there.items() if split and other != split}
        if moved:
            self.store.move(moved)
            self.came.joined += len(moved)
            for patient, split in moved.items():
                people.place(patient, split)
        whole = []
        for loop in loops:
            if loop.patient_id not in ordinals:
                ordinals[loop.patient_id] = patients
                patients += 1
            ordinal = ordinals[loop.patient_id]
            group = people.group(loop.patient_id)
            split = (
                most_guarded(people.splits(loop.patient_id).values())
                or most_guarded(official.get(group, ()))
                or assign_split(self.split_seed, ordinal)
            )
            people.place(loop.patient_id, split)
            self.came.moved += loop.split not in ("", split)
            whole.append(replace(loop, patient_ordinal=ordinal, split=split))
        return whole


def pairs(ids: tuple[str, ...]) -> set[Link]:
    """Ids of one person as pairs with the first."""
    return {(ids[0], other) for other in ids[1:] if other != ids[0]}
