"""Sections on what the study is for, who took part in it and who pays: most of it no record can say."""

from __future__ import annotations

from echojepa.report.card.records import Records
from echojepa.report.card.sections import Missing, Section

AUTHORS = "the authors of the study"
CLINICIANS = "clinicians who would use it"
COLLECTORS = "whoever collected the data"
NO_PATIENT = "does not apply; every loop with a view is synthetic, and no patient took part."


def of_patients(
    records: Records, what: str, *missing: Missing
) -> tuple[tuple[str, ...], tuple[Missing, ...]]:
    """What is told and what is missing of things (named by `what`) that only a study of patients has."""
    return ((f"{what}: {NO_PATIENT}",), ()) if records.invented else ((), missing)


def summary(records: Records) -> Section:
    """What it is, in three sentences."""
    tasks = sorted({row.task for row in records.rows})
    card = records.weights
    told = [
        f"A deep-learning encoder of echocardiographic loops (vision transformer '{card.architecture.size}', "
        f"{records.parameters:,} parameters), pretrained {'with' if records.labelled else 'without'} labels "
        f"by the objective "
        f"'{records.pretraining.objective}', frozen, and read out by probes for {', '.join(tasks)}.",
        "Research use only; not a medical device.",
    ]
    if records.synthetic != "none":
        told.append(
            f"{records.synthetic.capitalize()} of the loops with a view are a synthetic phantom's: no figure "
            "of this card is clinical, and none may be cited as such."
        )
    missing = Missing("an abstract of the study's design, results and conclusions", AUTHORS)
    return Section("What it is", "1 2", "1 2", tuple(told), (missing,))


def purpose(records: Records) -> Section:
    """Why it was made."""
    plan = getattr(records.settings, "plan", "")
    made = f"by the plan '{plan}'" if plan else "by probes of chosen tasks"
    told = (
        f"Development of an encoder, and internal testing {made}: how well frozen features are read, beside "
        "the encoder's own random start and a constant.",
    )
    missing = (
        Missing("the health-care context, existing models, target population and users", CLINICIANS),
        Missing("known health inequalities between groups of patients", CLINICIANS),
        Missing("hypotheses, and what finding would change practice", AUTHORS),
    )
    return Section("Background and purpose", "3a 3b 3c 4", "3 4 6", told, missing)


def design(records: Records) -> Section:
    """Design, ethics, registration."""
    told, missing = of_patients(
        records,
        "Enrolment, ethical approval, consent and registration",
        Missing("whether patients were enrolled for this, or data were there before", AUTHORS),
        Missing("the ethics committee, and consent or its waiver", AUTHORS),
        Missing("registration of the study, or that it was not registered", AUTHORS),
    )
    protocol = Missing("a study protocol, or that none was prepared", AUTHORS)
    technical = (
        "Every setting of pretraining stands at the end of the report, every setting of the evaluation in "
        "config.json of the results; how numbers come about, in docs/explanation/evaluation.md.",
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
        "No use in care follows from this card. An encoder answers nothing by itself: `echojepa assemble` "
        "joins it with calibrated probes, and `echojepa predict` then says, study by study, which files and "
        "loops it does not take, and abstains where a loop is unlike its training set.",
        "Its user gives DICOM or video files and needs no setting; to judge an answer takes somebody who "
        "reads echocardiograms.",
    )
    missing = Missing("what to do next before it could be tried in care", AUTHORS)
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
        told.append(f"Other weights went into it ('{start.name}'): their licence holds for it, too.")
    missing = [Missing("the licence of the weights, and where they can be had", AUTHORS)]
    if records.invented:
        told.append("Data: made by `echojepa simulate`, which anybody can run again.")
    else:
        missing.append(Missing("who can have the data, and on what terms", COLLECTORS))
    return Section("Availability", "18e 18f", "43", tuple(told), tuple(missing))
