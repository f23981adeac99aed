"""Studies in, answers out. One load of a model serves any number of studies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from echojepa.answer.gathering import gathered
from echojepa.answer.loops import StudyFeatures, findings_of
from echojepa.answer.model import Model, load_model
from echojepa.answer.study import ReadStudy, read_studies, shown_to
from echojepa.answer.tasks import answer_task, reads
from echojepa.answer.values import LeftOut, LoopFinding, StudyAnswer, TaskAnswer
from echojepa.config import SHIPPED_MODEL
from echojepa.progress import Progress, quiet


def predict(
    study: Path | str | Sequence[Path | str],
    model: Path | str | Model = SHIPPED_MODEL,
    progress: Progress = quiet,
    *,
    workers: int = 0,
) -> tuple[StudyAnswer, ...]:
    """Answers for one study or several, in the order of their first files. Research use only.

    `study`: folders, DICOMDIRs, zips, DICOM files, MP4 or AVI; a folder may hold several studies. `model`:
    `shipped:small`, a folder that `echojepa assemble` made, or what `load_model` gives. `progress(done,
    total, note)` is told of every stage. `workers`: processes that read files, 0 for one a core. UserError
    for an input that is not there, CheckpointError for a model that is damaged. A file that cannot be read is
    named in `unused`.
    """
    inputs = [study] if isinstance(study, str | Path) else list(study)
    loaded = model if isinstance(model, Model) else load_model(model)
    return tuple(answers([Path(one) for one in inputs], loaded, progress, workers))


def answers(
    inputs: Sequence[Path],
    model: Model,
    progress: Progress,
    workers: int = 0,
    scratch: Path | None = None,
) -> Iterator[StudyAnswer]:
    """As `predict`, one study at a time: the caller may write an answer and let it go. `scratch`: a folder to
    unpack zips in, and for loops whose study's turn has not come, where it is not the system's."""
    with gathered(inputs, scratch) as given:
        studies = read_studies(given, model.card, progress, workers, scratch)
    for study in studies:
        yield answer_study(study, model, progress)


def answer_study(study: ReadStudy, model: Model, progress: Progress) -> StudyAnswer:
    """All that the model says of one study."""
    study = shown_to(model.backbone.spec, study)
    features = StudyFeatures(model, study.loops, progress)
    return answer_found(study, model, findings_of(model, study, features), features)


def answer_found(
    study: ReadStudy, model: Model, found: Sequence[LoopFinding], features: StudyFeatures
) -> StudyAnswer:
    """All that the model says of a study of which this was `found` of each loop."""
    tasks = tuple(answer_task(model, part, found, study.timeless, features) for part in model.card.tasks)
    return StudyAnswer(
        number=study.number,
        files=study.files,
        tasks=tasks,
        loops=tuple(told_use(loop, tasks, model) for loop in found),
        unused=study.unused,
        model=model.facts,
    )


def told_use(loop: LoopFinding, tasks: Sequence[TaskAnswer], model: Model) -> LoopFinding:
    """The loop with the tasks that rest on it, or why none does."""
    used = tuple(task.name for task in tasks if any(share.loop == loop.number for share in task.loops))
    if used or loop.left_out:
        return replace(loop, used_for=used)
    answered = [
        task.abstention is None
        for part, task in zip(model.card.tasks, tasks, strict=True)
        if reads(part.task, loop.view, loop.colour)
    ]
    if not answered:
        return replace(loop, left_out=LeftOut.NO_TASK)
    return replace(loop, left_out=LeftOut.ENOUGH if any(answered) else LeftOut.NO_ANSWER)
