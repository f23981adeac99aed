"""All sections in their order."""

from __future__ import annotations

from echojepa.report.card import data, findings, model, study
from echojepa.report.card.records import Records
from echojepa.report.card.sections import Section

ORDER = (
    study.summary, study.purpose, study.design, data.sources, data.eligible, data.preparation,
    data.reference, data.missing_values, data.partitions, model.encoder, model.training, model.judged,
    model.fairness, data.participants, findings.performance, findings.failures, findings.limits, study.use,
    study.availability, study.people,
)  # fmt: skip


def model_card(records: Records) -> list[Section]:
    """The card; every item of both checklists is answered by one section."""
    return [make(records) for make in ORDER]
