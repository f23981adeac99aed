"""Commands that make a model that answers, and ask it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from echojepa.commands.data import check_data_sets
from echojepa.config import AssembleConfig, ListenConfig, PredictConfig, ServeConfig, SurveyConfig
from echojepa.errors import UserError
from echojepa.terminal import console, progress_bar, show_table

if TYPE_CHECKING:
    from echojepa.answer.values import StudyAnswer


def run_assemble(config: AssembleConfig) -> None:
    """Assemble and say what the model answers."""
    from echojepa.answer.assemble import assemble

    with progress_bar("assemble") as show:
        card = assemble(config, show)
    rows = []
    for part in card.tasks:
        cells = part.intervals.patients.values() if part.intervals else ()
        rows.append((part.task.name, f"{part.error:.2f} {part.task.unit}", part.test_patients, sum(cells)))
    columns = ("task", "mean absolute error", "test patients", "calibration patients")
    show_table("What it answers", columns, rows)
    if card.view:
        console.print(
            f"Views: {100 * card.view.accuracy:.0f} % right on {card.view.test_patients} test patients"
        )
    else:
        console.print("Views: no probe; only views that files state are used")
    console.print(f"Model: {config.out}")


def run_survey(config: SurveyConfig) -> None:
    """Write the page and say how many loops lie far."""
    check_data_sets(config.data)
    from echojepa.answer.survey import survey

    made = survey(config)
    console.print(made.says)
    console.print(f"Page: {config.out}")


def run_predict(config: PredictConfig) -> None:
    """Answer study by study, and print each answer once it is written."""
    from echojepa.data.importers.archive import check_sources

    check_sources(config.studies)
    from echojepa.answer.model import load_model
    from echojepa.answer.predict import answers
    from echojepa.answer.writing.output import check_writable, places_of, write_answer

    check_writable(config.out, config.dicom)
    model = load_model(config.model)
    with progress_bar("predict") as show:
        for answer, folder in places_of(answers(config.studies, model, show, config.workers), config.out):
            written = write_answer(answer, folder, dicom=config.dicom)
            show_answer(answer)
            console.print(f"Written: {', '.join(path.name for path in written)} in {folder}")
    console.print("Research use only. Not a medical device.")


def run_serve(config: ServeConfig) -> None:
    """Serve until it is stopped."""
    try:
        from echojepa.serve.server import serve
    except ImportError as error:
        raise UserError(f"serve needs {error.name}; run: pip install 'echojepa[serve]'") from None
    serve(config, console.print)


def show_answer(answer: StudyAnswer) -> None:
    """Print one study's answer."""
    rows = []
    for task in answer.tasks:
        if task.value is None or task.interval is None:
            rows.append((task.name, "no answer", f"{task.abstention}: {task.detail}"))
        else:
            low, high = task.interval.low, task.interval.high
            rows.append((task.name, f"{task.value:.1f} {task.unit}", f"{low:.1f} to {high:.1f}"))
    title = f"Study {answer.number}: {len(answer.loops)} loops, {len(answer.unused)} files not used"
    show_table(title, ("task", "value", "90 % interval"), rows)


def run_listen(config: ListenConfig) -> None:
    """Listen until it is interrupted or told to end."""
    import signal

    from echojepa.answer.process import AnsweringProcess
    from echojepa.answer.worker import WorkerSettings
    from echojepa.listen.sending import Destination, send_files
    from echojepa.listen.service import Listener

    send = partial(send_files, config.ae_title, Destination.parse(config.to)) if config.to else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    settings = WorkerSettings(config.model, config.workers, config.memory * 1_000_000, dicom=True)
    with (
        AnsweringProcess(settings, config.seconds) as answerer,
        Listener(config, answerer, send, console.print) as listener,
    ):
        console.print(f"{config.ae_title} listens at {config.host}:{listener.port}. Ctrl-C stops it.")
        console.print("Research use only. Not a medical device.")
        with suppress(KeyboardInterrupt):
            listener.wait()
    console.print("Stopped; the same command resumes.")
