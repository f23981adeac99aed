"""Sections on the data: whence, what was left out, how it was made ready, who is in which part."""

from __future__ import annotations

from collections import Counter

from echojepa.evaluation.results import ALL_SITES
from echojepa.evaluation.statistics.subgroups import MINIMUM_PATIENTS
from echojepa.report.card.records import Records, centre, middle
from echojepa.report.card.sections import CardTable, Missing, Section
from echojepa.report.card.study import COLLECTORS, of_patients


def sources(records: Records) -> Section:
    """Where data come from, and with what they were recorded."""
    trained = records.weights.origin.data_fingerprint
    same = "the same" if trained == records.fingerprint else f"another one, {trained or 'not known'}"
    rates = [row["frame_rate"] for row in records.loops if row["frame_rate"]]
    sides = Counter(f"{row['width']} x {row['height']}" for row in records.loops).most_common(1)[0]
    told = (
        f"Data set with fingerprint {records.fingerprint}; the pretraining data set is {same}.",
        f"Cine loops by site: {records.counted('site')}; by maker of the scanner: "
        f"{records.counted('manufacturer')}.",
        f"Frames a second: median [quartiles] {middle(rates)}. Commonest picture {sides[0]} px "
        f"({sides[1]} loops). The size of a pixel is stated of {records.stated('pixel_height_mm')} of "
        f"{len(records.loops)} loops.",
    )
    seen, missing = of_patients(
        records,
        "Dates, centres and how loops were recorded",
        Missing("dates of recording (ingest shifts them, so they are unknown)", COLLECTORS),
        Missing("the setting and place of the centres, and the population they represent", COLLECTORS),
        Missing("who recorded the loops, and by which protocol", COLLECTORS),
    )
    return Section("Data and acquisition", "5a 5b 6a", "7 13", (*told, *seen), missing)


def eligible(records: Records) -> Section:
    """What came in and what did not."""
    reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(records.rejected.items()))
    subset = sorted({row.note for row in records.own if "subset" in row.note})
    told = (
        f"Every file that ingest could read is included. Left out, by reason: {reasons or 'none'}.",
        f"Probes use cine loops of a known view: {records.stated('view')} of {len(records.loops)}.",
        f"Tested on {'; '.join(subset)}." if subset else "Tested on every labelled test patient.",
    )
    chosen, missing = of_patients(
        records,
        "How studies were chosen, and treatments",
        Missing("by which criteria studies were chosen before ingest", COLLECTORS),
        Missing("treatments that patients had", COLLECTORS),
    )
    return Section("Who and what was included", "6b 6c", "8 10", (*told, *chosen), missing)


def preparation(records: Records) -> Section:
    """From files to clips; the predictors."""
    spec, prepared = records.weights.spec, records.pretraining
    span = f"{spec.seconds:g} s" if spec.seconds else f"every {spec.stride}. frame"
    told = (
        "Ingest keeps pixels inside the ultrasound sector and their times; ids are keyed pseudonyms, dates "
        "are moved, ages are coarse (docs/explanation/ingest.md). Loops with still text inside the sector "
        "are held for review.",
        f"A clip is {spec.frames} frames of {spec.size} px over {span}, scaled by fixed means and spreads; "
        "the same for every patient.",
        "The only predictors are a loop's pixels over time, and for probes of a study which view a loop "
        "shows. No model gets age, sex, site or scanner, and no person judges the predictors.",
        f"Only in pretraining, clips are moved at random (augment: {prepared.augment}).",
    )
    return Section("Preparation, predictors", "7 9a 9b 9c 12b", "9 11", told)


def reference(records: Records) -> Section:
    """What is predicted, and whence its truth."""
    known = sorted({label for part in records.parts for label in part.labels})
    said = ", ".join(f"{name} ({records.units[name] or 'no unit'})" for name in known)
    told = [f"Labels of the data set, by study: {said or 'none'}. A view is a label of the loop itself."]
    if records.invented:
        told.append(
            "The truth is measured on the phantom's own geometry, without error and without a reader: no "
            "annotator, no blinding, no variability of readers."
        )
    _, missing = of_patients(
        records,
        "",
        Missing("how each label was measured, by whom, and why this reference was chosen", COLLECTORS),
        Missing("whether the person who measured knew other findings", COLLECTORS),
        Missing("how far two readers, or one reader twice, agree", COLLECTORS),
    )
    return Section("Outcome and reference standard", "8a 8b 8c", "14 15 16 17 18", tuple(told), missing)


def missing_values(records: Records) -> Section:
    """What data lack."""
    patients = sum(part.patients for part in records.parts)
    studies = sum(part.studies for part in records.parts)
    labels = Counter(name for part in records.parts for name, some in part.labels.items() for _ in some)
    counted = ", ".join(f"{name} {number} of {studies} studies" for name, number in sorted(labels.items()))
    told = (
        "Missing values are not imputed: a loop without a view and a study without a label are not used "
        "in that task. In a task of several views, an absent view is masked.",
        f"Stated: {counted or 'no label'}; sex {sum(len(p.sexes) for p in records.parts)} and age "
        f"{sum(len(p.ages) for p in records.parts)} of {patients} patients; view {records.stated('view')} of "
        f"{len(records.loops)} loops.",
    )
    return Section("Missing data", "11", "12", told)


def partitions(records: Records) -> Section:
    """Who is in which part, and what each is for."""
    sites = {row.site for row in records.own if row.trained_on not in (row.site, ALL_SITES)}
    told = (
        f"By patient, stored with the data set (seed {records.split_seed}); a patient in two parts stops "
        "every command.",
        f"Pretraining sees loops of training patients {'with their' if records.labelled else 'without'} "
        "labels; probes learn on training patients; "
        "validation patients choose settings and epoch; test patients are scored once and choose nothing.",
        f"External testing on sites that the probe was not trained on: {', '.join(sorted(sites))}."
        if sites
        else "All parts come from the same sites: testing is internal.",
        "No sample size was calculated; the intervals show the precision.",
    )
    external = (
        Missing("testing on data of another collection", "a person who has such data") if not sites else None
    )
    return Section(
        "Partitions and sample size", "10 12a 16", "19 20 21 32 33", told, (external,) if external else ()
    )


def participants(records: Records) -> Section:
    """Characteristics of each part."""
    columns = ("", *(part.split for part in records.parts))
    labels = sorted({label for part in records.parts for label in part.labels})
    rows: list[tuple[str, ...]] = [
        ("patients", *(str(part.patients) for part in records.parts)),
        ("studies", *(str(part.studies) for part in records.parts)),
        ("cine loops", *(str(part.loops) for part in records.parts)),
        ("women, of stated sex", *(sexes(part.sexes) for part in records.parts)),
        ("age, median [quartiles]", *(middle(part.ages) for part in records.parts)),
    ]
    rows += [
        (
            f"{name} {records.units[name]}".strip(),
            *(centre(part.labels.get(name, ())) for part in records.parts),
        )
        for name in labels
    ]
    told = (
        "Counts are of cine loops in the data set; each figure below states its own patients. Labels: "
        f"mean and spread. For fewer than {MINIMUM_PATIENTS} patients, only their number is stated.",
    )
    _, missing = of_patients(
        records, "", Missing("ethnicity, diagnoses and other characteristics", COLLECTORS)
    )
    table = CardTable("Participants by part", columns, tuple(rows))
    return Section("Participants", "20a 20b 20c 21", "35 36", told, missing, table)


def sexes(stated: tuple[str, ...]) -> str:
    """Women among patients whose sex is stated; of few their number alone."""
    if len(stated) < MINIMUM_PATIENTS:
        return f"of {len(stated)}, too few to report"
    return f"{stated.count('F')} of {len(stated)}"
