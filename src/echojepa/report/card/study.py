"""Sections on what the study is for, who took part in it and who pays: most of it no record can say."""

from __future__ import annotations

from echojepa.report.card.records import Records
from echojepa.report.card.sections import Missing, Section

AUTHORS = "the authors of the study"
CLINICIANS = "clinicians who would use it"
COLLECTORS = "the people who collected the data"
NO_PATIENT = "does not apply; every loop with a view is synthetic, and no patient took part."


def of_patients(
    records: Records, what: str, *missing: Missing
) -> tuple[tuple[str, ...], tuple[Missing, ...]]:
    """Facts and missing facts about things (named by `what`) that only a study of patients has."""
    return ((f"{what}: {NO_PATIENT}",), ()) if records.invented else ((), missing)


def summary(records: Records) -> Section:
    """What it is, in three sentences."""
    tasks = sorted({row.task for row in records.rows})
    card = records.weights
    told = [
        "A deep-learning encoder of echocardiographic loops (vision transformer "
        f"'{card.architecture.size}', {records.parameters:,} parameters), pretrained "
        f"{'with' if records.labelled else 'without'} labels by the objective "
        f"'{records.pretraining.objective}', frozen, and read out by probes for {', '.join(tasks)}.",
        "Research use only; not a medical device.",
    ]
    if records.synthetic != "none":
        told.append(
            f"{records.synthetic.capitalize()} of the loops with a view are a synthetic phantom's: no "
            "figure in this card is clinical, and none may be cited as such."
        )
    missing = Missing("an abstract of the study's design, results and conclusions", AUTHORS)
    return Section("What it is", "1 2", "1 2", tuple(told), (missing,))


def purpose(records: Records) -> Section:
    """Why it was made."""
    plan = getattr(records.settings, "plan", "")
    made = f"by the plan '{plan}'" if plan else "by probes of chosen tasks"
    told = (
        f"Development of an encoder, and internal testing {made}: how well probes read frozen features, "
        "compared with the encoder's own random start and a constant.",
    )
    missing = (
        Missing("the health-care context, existing models, target population and users", CLINICIANS),
        Missing("known health inequalities between groups of patients", CLINICIANS),
        Missing("hypotheses, and which finding would change practice", AUTHORS),
    )
    return Section("Background and purpose", "3a 3b 3c 4", "3 4 6", told, missing)


def design(records: Records) -> Section:
    """Design, ethics, registration."""
    told, missing = of_patients(
        records,
        "Enrolment, ethical approval, consent and registration",
        Missing("whether patients were enrolled for this study, or existing data were used", AUTHORS),
        Missing("the ethics committee, and consent or its waiver", AUTHORS),
        Missing("registration of the study, or that it was not registered", AUTHORS),
    )
    protocol = Missing("a study protocol, or that none was prepared", AUTHORS)
    technical = (
        "The end of the report has every setting of pretraining, config.json of the results every "
        "setting of the evaluation, and docs/explanation/evaluation.md explains the numbers.",
    )
    return Section(
        "Design, ethics, protocol", "17 18c 18d", "5 34 42", (*told, *technical), (*missing, protocol)
    )


def people(records: Records) -> Section:
    """Money, interests, involvement."""
    missing = [
        Missing("funding and what funders decided", AUTHORS),
        Missing("interests of the authors", AUTHORS),
    ]
    told, involved = of_patients(
        records, "Involvement of patients", Missing("whether patients or the public were involved", AUTHORS)
    )
    return Section("Funding, interests, involvement", "18a 18b 19", "44", told, (*missing, *involved))


def use(records: Records) -> Section:
    """What stands between this and a patient."""
    told = (
        "This card does not support any use in care. An encoder alone gives no answers. `echojepa "
        "assemble` combines it with calibrated probes. `echojepa predict` then lists unused files and "
        "loops for each study, and abstains if a loop is unlike its training set.",
        "The user gives DICOM or video files and needs no settings. Only a person who can read "
        "echocardiograms can judge an answer.",
    )
    missing = Missing("the next steps before a trial in care", AUTHORS)
    return Section("Use", "27a 27b 27c", "41", told, (missing,))


def availability(records: Records) -> Section:
    """What others can have."""
    weights = records.weights
    start = records.pretraining.start or records.pretraining.latent.teacher
    told = [
        "Code: echojepa, Apache-2.0.",
        f"Weights: encoder.safetensors, sha256 {weights.sha256}; written by echojepa {weights.version}.",
    ]
    if start:
        told.append(f"It was made from other weights ('{start.name}'); their licence also applies to it.")
    missing = [Missing("the licence of the weights, and where they are available", AUTHORS)]
    if records.invented:
        told.append("Data: made by `echojepa simulate`, which anyone can repeat.")
    else:
        missing.append(Missing("who can get the data, and on what terms", COLLECTORS))
    return Section("Availability", "18e 18f", "43", tuple(told), tuple(missing))
