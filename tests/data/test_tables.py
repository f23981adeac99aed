"""Claims about tables as Excel and pandas write them: read, or refused in a sentence that repeats nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from echojepa.config import IngestConfig
from echojepa.data.identity.deidentify import pseudonym
from echojepa.data.identity.private import IngestError
from echojepa.data.importers.known import read_listing
from echojepa.data.ingest.dry_run import dry_run
from echojepa.data.ingest.ingest import ingest, read_cleared
from echojepa.data.ingest.labels import read_labels
from echojepa.files.tables import TableError, identity
from echojepa.progress import quiet

KEY = b"a test key of sufficient length"
HEAD = "study_uid,label,value,unit\n"


def labels(path: Path, text: str, encoding: str = "utf-8") -> dict[str, float]:
    """Values by study of a table of labels."""
    path.write_bytes(text.encode(encoding))
    return {row["study_id"]: row["value"] for row in read_labels(path, KEY).to_pylist()}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (HEAD + "1.2,lvef,55,%\n", "utf-8"),
        (HEAD + "1.2,lvef,55,%\n", "utf-8-sig"),
        (HEAD + " 1.2 ,lvef , 55\t,%\n", "utf-8"),
        ("\n".join([HEAD.strip(), "1.2,lvef,55,%", "", ""]), "utf-8"),
        (HEAD.replace("\n", "\r\n") + "1.2,lvef,55,%\r\n", "utf-8-sig"),
        (' study_uid ,label, value,unit\n"1.2","lvef","55.0","%"\n', "utf-8"),
        (HEAD.replace("\n", ",note\n") + "1.2,lvef,55,%\n", "utf-8"),
    ],
)
def test_a_table_of_labels_joins_whatever_program_wrote_it(tmp_path: Path, text: str, encoding: str) -> None:
    assert labels(tmp_path / "a.csv", text, encoding) == {pseudonym(KEY, "study", "1.2"): 55.0}


@pytest.mark.parametrize(
    ("text", "encoding", "says"),
    [
        (HEAD + "1.2,lvef,55,%\n", "utf-16", "UTF-16"),
        (HEAD + "1.2,lvef,55,%\n", "utf-16-le", "UTF-16"),
        (HEAD + "1.2,Größe,170,cm\n", "cp1252", "not in UTF-8"),
        (HEAD + "1.2,lvef\n", "utf-8", "line 2: it has fewer values"),
        (HEAD + "1.2,lvef,55,%\n1.3\n", "utf-8", "line 3: it has fewer values"),
        (HEAD + "1.2,edv,nan,mL\n", "utf-8", "line 2: the value is not a number"),
        (HEAD + "1.2,edv,inf,mL\n", "utf-8", "line 2: the value is not a number"),
        (HEAD + "1.2,edv,-Infinity,mL\n", "utf-8", "line 2: the value is not a number"),
        (HEAD + "1.2,edv,,mL\n", "utf-8", "line 2: the value is not a number"),
        ("Doe^Jane,lvef,55,%\n", "utf-8", "lacks the columns"),
        ("Doe^Jane;1.2.77;55;%\n", "utf-8", "its first line has 1 columns"),
        ("", "utf-8", "its first line has 0 columns"),
        (HEAD + "1.2,lvef,55,%\n 1.2,lvef,56,%\n", "utf-8", "line 3: a second label"),
    ],
)
def test_a_table_that_is_none_is_refused_in_a_sentence_without_its_words(
    tmp_path: Path, text: str, encoding: str, says: str
) -> None:
    with pytest.raises((IngestError, TableError), match=says) as caught:
        labels(tmp_path / "a.csv", text, encoding)
    assert not {"Doe", "1.2.77", "Größe", "170"} & set(str(caught.value).replace(";", " ").split())
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding"), [("file_id\nabc\n", "utf-8-sig"), ("file_id,why\n abc ,x\n", "utf-8")]
)
def test_a_table_of_cleared_files_is_read_like_any_other(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    assert read_cleared(path) == {"abc"}
    for bad, name in ((text, "utf-16"), ("Doe\nabc\n", "utf-8"), ("file_id\nabcß\n", "cp1252")):
        path.write_bytes(bad.encode(name))
        with pytest.raises((IngestError, TableError)) as caught:
            read_cleared(path)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("77.0", "77"),
        (" 77 ", "77"),
        ("77.00", "77"),
        ("1.2.840", "1.2.840"),
        ("77.5", "77.5"),
        ("A7.0", "A7.0"),
    ],
)
def test_an_id_that_became_a_number_is_the_id_again(tmp_path: Path, written: str, meant: str) -> None:
    assert identity(written) == meant
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    table = tmp_path / "table.csv"
    table.write_text(f"path,patient,split\na.mp4,{written},train\nb.mp4,{meant},test\n")
    config = IngestConfig((table,), tmp_path / "out", tmp_path / "key", layout="table")
    assert {stated.patient for stated in read_listing(config).videos.values()} == {meant}
    assert {stated.split for stated in read_listing(config).videos.values()} == {"test"}


@pytest.mark.parametrize("text", ["Doe^Jane,77\n", "Doe;77\n", "Doe\n"])
def test_a_layouts_table_without_a_header_is_refused_without_its_words(tmp_path: Path, text: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text * 2)
    with pytest.raises(TableError, match="lacks the columns") as caught:
        read_listing(IngestConfig((table,), tmp_path / "out", tmp_path / "key", layout="table"))
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding", "says"),
    [
        (HEAD + "1.2,lvef,55,%\n", "utf-16", "UTF-16"),
        (HEAD + "1.2,lvef,nan,%\n", "utf-8", "line 2: the value is not a number"),
        ("Doe^Jane;1.2.77;55;%\n", "utf-8", "its first line has 1 columns"),
    ],
)
def test_a_dry_run_refuses_a_table_of_labels_as_ingest_does_and_nothing_is_made(
    tmp_path: Path, text: str, encoding: str, says: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/letter.dcm").write_text("no DICOM")
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    config = IngestConfig(
        (tmp_path / "in",), tmp_path / "out", tmp_path / "key", tmp_path / "labels.csv", workers=1
    )
    for run in (ingest, dry_run):
        with pytest.raises((IngestError, TableError), match=says) as caught:
            run(config, quiet)
        assert "Doe" not in str(caught.value)
    assert not (tmp_path / "out").exists()
