"""Commands that make a data set and look it over."""

from __future__ import annotations

from pathlib import Path

from echojepa.config import IngestConfig, SheetConfig, SimulateConfig, VerifyConfig
from echojepa.errors import UserError, unknown
from echojepa.terminal import console, progress_bar, show_table
from echojepa.vocabulary import Reason


def check_data_sets(*roots: Path) -> None:
    """StoreError unless each is a data set: asked before anything is imported that takes seconds."""
    from echojepa.data.store.facts import check_version
    from echojepa.data.store.location import Location

    for root in roots:
        check_version(Location(root))


def run_simulate(config: SimulateConfig) -> None:
    """Simulate and say what was written."""
    from echojepa.phantom.cohort.make import write_cohort

    with progress_bar("simulate patients") as show:
        made = write_cohort(config, show)
    console.print(
        f"{made.patients} synthetic patients, {made.loops} cine loops ({made.written_as}) in {config.out}"
    )


def run_ingest(config: IngestConfig) -> None:
    """Ingest and print the table of what came in, or only look."""
    from echojepa.data.importers.known import ARCHIVE, IMPORTERS

    if config.layout not in (ARCHIVE, *IMPORTERS):
        raise unknown(config.layout, (ARCHIVE, *IMPORTERS), "layout")
    if config.dry_run:
        return run_dry(config)
    from echojepa.data.ingest.ingest import ingest

    with progress_bar("ingest files") as show:
        summary = ingest(config, show)
    rejected = summary.came.rejected
    show_table("What came in", ("", "loops"), summary.came_in())
    if rejected:
        show_table("What did not", ("reason", "files"), sorted(rejected.items()))
        console.print(f"Your private map {summary.file_map} lists the paths of rejected files")
    if Reason.HELD_TEXT.value in rejected:
        console.print(
            f"Held for review: check the images in {summary.pictures}. List the file ids (the images' "
            "names) of those without a person's name in a CSV with the column file_id, and run again "
            "with --cleared CSV"
        )
    for fault, files in sorted(summary.came.faults.items()):
        console.print(f"An error of this program affected {files} files; please report it: {fault}")
    show_left_out(summary.left_out, summary.left_out_map)
    console.print(f"Data set: {config.out}")
    return None


def show_left_out(counts: dict[str, int], where: Path) -> None:
    """What a data set's own tables name that was passed over."""
    if counts:
        show_table("Left out", ("why", "how many"), sorted(counts.items()))
        console.print(f"Your private table {where} lists them")


def run_dry(config: IngestConfig) -> None:
    """Print what an ingest would bring in and cost."""
    from echojepa.data.ingest.dry_run import dry_run

    with progress_bar("look at files") as show:
        found = dry_run(config, show)
    show_table("Would come in, by header", ("kind", "files"), sorted(found.kinds.items()))
    show_table("Would not, by header", ("reason", "files"), sorted(found.refused.items()))
    refused = sum(found.sample_refused.values())
    console.print(
        f"Completely converted as a sample: {found.sampled} files, of which {refused} were rejected"
    )
    for reason, number in sorted(found.sample_refused.items()):
        console.print(f"  {reason}: {number}")
    for doubt in found.doubts:
        console.print(f"warning: {doubt}")
    show_left_out(found.left_out, found.left_out_map)
    console.print(
        f"Disk: about {found.disk_bytes / 1e9:.2f} GB. Time: about {found.seconds / 60:.1f} min. No data "
        f"set was written. Your private table {found.table} lists the result for each file"
    )


def run_verify(config: VerifyConfig) -> None:
    """Print every check and what was found; UserError when something would spoil a result."""
    from echojepa.data.store.loop_store import LoopStore
    from echojepa.data.verify.verify import verify

    with progress_bar("look at loops") as show:
        findings = verify(LoopStore.open(config.data), config.pixels, show)
    rows = [(f.check, f.verdict, f.count, f.looked_at) for f in findings]
    show_table("What was checked", ("check", "verdict", "found", "looked at"), rows)
    faults = {severity: [f for f in findings if f.verdict == severity] for severity in ("error", "warning")}
    for finding in (*faults["error"], *faults["warning"]):
        console.print(f"{finding.verdict}: {finding.check}: {finding.detail}. To do: {finding.advice}.")
    verdict = f"errors: {len(faults['error'])}, warnings: {len(faults['warning'])}"
    if faults["error"]:
        raise UserError(f"{verdict}; results from this data set could be wrong. Correct the errors first")
    console.print(f"{verdict}; no fault was found that would spoil a result")


def run_sheet(config: SheetConfig) -> None:
    """Write the contact sheet and say where."""
    from echojepa.report.contact_sheet import write_sheet

    with progress_bar("draw loops") as show:
        console.print(f"Contact sheet: {write_sheet(config, show)}")
