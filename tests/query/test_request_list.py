"""Lists of requests: what spreadsheets write becomes the keys that were meant, or an error with line and column."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import os
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query.levels import LEVEL
from movescu.query.python_keys import identifier_of
from movescu.query.python_rows import entries_of, keys_of_row
from movescu.query.request_list import Row, read_rows
from movescu.query.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


def entries(folder: Path, content: bytes | str, *keys: str, model: str = "STUDY") -> list[Row]:
    path = folder / f"list-{os.getpid()}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rows(str(path), keys, model=model)


def keys_of(row: Row) -> dict[str, str]:
    """The keys that are sent, by keyword, without the level."""
    dataset = pydicom.dcmread(io.BytesIO(row.identifier.encode(EXPLICIT_LITTLE)), force=True)
    return {element.keyword: str(element.value) for element in dataset if element.keyword != "QueryRetrieveLevel"}


def level_of(row: Row) -> str:
    dataset = pydicom.dcmread(io.BytesIO(row.identifier.encode(EXPLICIT_LITTLE)), force=True)
    return str(dataset.QueryRetrieveLevel)


TWO = [
    {"PatientID": "00123", "StudyInstanceUID": "1.2.3"},
    {"PatientID": "P,4", "StudyInstanceUID": "1.2.4"},
]


@pytest.mark.parametrize(
    "content",
    [
        b'PatientID,StudyInstanceUID\n00123,1.2.3\n"P,4",1.2.4\n',
        b"PatientID;StudyInstanceUID\r\n00123;1.2.3\r\nP,4;1.2.4\r\n",
        b"PatientID\tStudyInstanceUID\r00123\t1.2.3\rP,4\t1.2.4",
        b"PatientID|StudyInstanceUID\n00123|1.2.3\nP,4|1.2.4\n",
        b"sep=;\r\nPatientID;StudyInstanceUID\r\n00123;1.2.3\r\nP,4;1.2.4\r\n",
        b'"sep=\t"\r\nPatientID\tStudyInstanceUID\r\n00123\t1.2.3\r\nP,4\t1.2.4\r\n',
        b"\xef\xbb\xbfPatientID;StudyInstanceUID\n00123;1.2.3\nP,4;1.2.4\n",
        "\ufeffPatientID\tStudyInstanceUID\r\n00123\t1.2.3\r\nP,4\t1.2.4\r\n".encode("utf-16-le"),
        "PatientID\tStudyInstanceUID\r\n00123\t1.2.3\r\nP,4\t1.2.4\r\n".encode("utf-16-be"),
        "PatientID\tStudyInstanceUID\r\n00123\t1.2.3\r\nP,4\t1.2.4\r\n".encode("utf-16-le"),
        "\ufeffPatientID\tStudyInstanceUID\r\n00123\t1.2.3\r\nP,4\t1.2.4\r\n".encode("utf-16-be"),
        b"sep=\\t\nPatientID\tStudyInstanceUID\n00123\t1.2.3\nP,4\t1.2.4\n",
        b"\n\nsep=;\nPatientID;StudyInstanceUID\n00123;1.2.3\nP,4;1.2.4\n",
        b'PatientID;StudyInstanceUID\n="00123";="1.2.3"\n"=""P,4""";1.2.4\n',
        b"\n;;\nPatientID;;StudyInstanceUID;\n00123;;1.2.3;\n;;;\n\nP,4;;1.2.4;\n;;;\n",
        b'# exported "today\nPatientID;StudyInstanceUID\n# a quote " in a comment\n00123;1.2.3\nP,4;1.2.4\n',
        b'patient_id;study instance uid\n00123 ; 1.2.3\n"P,4" ;1.2.4\n'.replace(b'"P,4" ', b'"P,4"'),
        b'"Patient\nID";"Study\r\nInstance UID"\n00123;1.2.3\nP,4;1.2.4\n',
        b"(0010,0020);0020,000D\n00123;1.2.3\nP,4;1.2.4\n",
        "PATIENT ID;STUDY INSTANCE UID\n\u00a000123\u00a0;1.2.3\nP,4;1.2.4\n".encode(),
        b"StudyInstanceUID;PatientID\n1.2.3;00123\n1.2.4;P,4",
        b"sep=:\nPatientID:StudyInstanceUID\n00123:1.2.3\nP,4:1.2.4\n",
        b'StudyInstanceUID, PatientID\n1.2.3, 00123\n1.2.4, "P,4"\n',
        b"# exported; today\nPatientID;StudyInstanceUID\n00123;1.2.3\nP,4;1.2.4\n",
        b"PatientID;StudyInstanceUID;Ward\n# exported; today\n00123;1.2.3;7\nP,4;1.2.4;7\n",
        b'PatientID;StudyInstanceUID;Ward\n00123;1.2.3;"7\n\n# B"\nP,4;1.2.4;7\n',
    ],
)
def test_list_in_any_form_of_csv_has_the_keys_of_its_cells(folder: Path, content: bytes) -> None:
    assert [keys_of(row) for row in entries(folder, content)] == TWO


@pytest.mark.parametrize(
    ("heading", "keyword"),
    [
        ("Accession Number", "AccessionNumber"),
        ("accession_number", "AccessionNumber"),
        ("ACCESSIONNUMBER", "AccessionNumber"),
        ("Patient's Name", "PatientName"),
        ("PatientsName", "PatientName"),
        ("Referring Physician\u2019s Name", "ReferringPhysicianName"),
        ("Modalities in Study", "ModalitiesInStudy"),
        ("study description", "StudyDescription"),
    ],
)
def test_heading_names_its_key_in_any_case_with_or_without_blanks(folder: Path, heading: str, keyword: str) -> None:
    [row] = entries(folder, f"{heading}\nA1\n")
    assert (keys_of(row), level_of(row)) == ({keyword: "A1"}, "STUDY")


@pytest.mark.parametrize(
    ("heading", "meant"),
    [
        ("MRN", "PatientID"),
        ("Patient No.", "PatientID"),
        ("Acc #", "AccessionNumber"),
        ("Accession No", "AccessionNumber"),
        ("Study UID", "StudyInstanceUID"),
        ("Study Instnace UID", "StudyInstanceUID"),
        ("Accesion Number", "AccessionNumber"),
        ("Study Dat", "StudyDate"),
        ("Pateint Name", "PatientName"),
        ("Patient Birth Dat", "PatientBirthDate"),
        ("Modalities in Studies", "ModalitiesInStudy"),
        ("Query Retrieve Levl", "QueryRetrieveLevel"),
        ("DOB", "PatientBirthDate"),
    ],
)
def test_heading_that_means_a_key_is_an_error_that_suggests_it(folder: Path, heading: str, meant: str) -> None:
    with pytest.raises(UsageError, match=r"line 1 of .*: the column .* is not named by a keyword") as raised:
        entries(folder, f"{heading},PatientName\n1,A\n")
    assert raised.value.hint == f"name it {meant}"


def test_warning_of_columns_that_are_not_sent_names_five(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, words in ((5, "'c4'"), (6, "'c4' and 1 more")):
        names = [f"c{place}" for place in range(number)]
        entries(folder, f"StudyInstanceUID,{','.join(names)}\n1.2\n")
        assert caplog.messages.pop().endswith(words)
        caplog.clear()


def test_columns_that_name_no_key_are_kept_for_the_report_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = 'StudyInstanceUID;Study Site;Date;Status;;Study Site\n1.2.3;7 B;1.2.24;"open,\nurgent";x;9\n1.2.4;;;;;\n'
    with caplog.at_level(logging.WARNING):
        first, second = entries(folder, content)
    assert keys_of(first) == {"StudyInstanceUID": "1.2.3"}
    kept = {"Study Site": "7 B", "Date": "1.2.24", "Status": "open,\nurgent", "column 5": "x", "Study Site (6)": "9"}
    assert dict(first.columns) == kept
    assert set(dict(second.columns).values()) == {""}
    [warning] = caplog.messages
    assert (
        "kept for --report and --failed: columns 'Study Site', 'Date', 'Status', 'column 5', 'Study Site (6)'"
        in warning
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"AccessionNumber\nA1\n1.23457E+11\n", r"line 3, column 1 \(AccessionNumber\) .* scientific notation"),
        (b'PatientID;Study Instance UID\n"a\nb";1.2\n', r"line 2, column 1 \(PatientID\) .*U\+000A"),
        (b"StudyInstanceUID\n\n1.2.3\n\n1,2E+12\n", r"line 5, column 1 \(StudyInstanceUID\) .* scientific notation"),
        (b"PatientID;Study Instance UID\nP;12345\n", r"line 2, column 2 \(Study Instance UID\) .* is not a UID"),
        (b"1.2.3\n1.2.4\nstudy\n", r"line 3, column 1 \(StudyInstanceUID\) .* 'study' is not a UID"),
        (b"StudyInstanceUID\n1.2.*\n", "is not a UID"),
        (b"StudyInstanceUID\n1.2." + b"3" * 61 + b"\n", "is not a UID"),
        (b"PatientID;StudyDate\nP;2020-01-31\n", r"line 2, column 2 \(StudyDate\) .* not a date"),
        (b"PatientName;PatientID\nM\xfcller;1\n", r"line 2, column 1 \(PatientName\) .* is not UTF-8"),
        ("PatientID\nP\u200b1\n".encode(), r"line 2, column 1 \(PatientID\) .*U\+200B"),
        (b"PatientID,StudyInstanceUID\nP1,1.2.3\nP1,\n", "line 3, column 2 .* StudyInstanceUID is blank"),
        (b"AccessionNumber,StudyDate\nA1,20200101\nA2,\n", "line 3, column 2 .* StudyDate is blank"),
        (b"PatientID,StudyInstanceUID\nP1,1.2.3\n,1.2.4\n", "line 3, column 1 .* PatientID is blank"),
        (
            b"QueryRetrieveLevel,PatientID,StudyInstanceUID\nSTUDY,P1,1.2.3\nSTUDY,P1,\n",
            "line 3, column 3 .* StudyInstanceUID is blank",
        ),
        (b"PatientID,StudyInstanceUID\n1\n", "line 2 .* 1 column, the first line has 2"),
        (b"PatientID,StudyInstanceUID\n1,1.2,3\n", "line 2 .* 3 columns, the first line has 2"),
        (b"PatientID,StudyInstanceUID,Ward\n1,1.2,3,4\n", "line 2 .* 4 columns, the first line has 3"),
        (b"AccessionNumber,Ward\n,7\n", "line 2, column 1 .* AccessionNumber is blank"),
        (b'PatientID,StudyInstanceUID\n1,1.2\n"2,1.3\n3,1.4\n', "line 3 .* a quoted field does not end"),
        (b'PatientID,StudyInstanceUID\n"1"2,1.2\n', "line 2 "),
        (b"StudyInstanceUID;0020,000D\n1.2.3;1.2.4\n", "line 1 .* twice: columns 1 and 2"),
        (b"A1\nA2\n", "line 1 .* does not name columns: 'A1'"),
        (b"0020,000L\n1\n", "line 1 .* does not name columns"),
        (b"0020,0000;x\n14;1\n", "line 1 .* does not name columns"),
        (b"12345678\n12345679\n", "line 1 .* does not name columns"),
        (b"NumberOfFrames\n1\n", "none of the columns determines the level"),
        (b"QueryRetrieveLevel,StudyInstanceUID\nWARD,1.2\n", "line 2 .* 'WARD' is not a level"),
        (b"", "has no entries"),
        (b"\xff\xfe", "has no entries"),
        (b"PatientID\n\n;;\n", "has no entries"),
        (b"PK\3\4\x14\0\6\0xl/workbook.xml", r"an Excel workbook \(\.xlsx\)"),
        (b"PK\3\4\x14\0\0\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "OpenDocument spreadsheet"),
        (b"PK\3\4\x14\0\0\0list.csv", "a ZIP file"),
        (b"%PDF-1.4", "a PDF document"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"an Excel workbook \(\.xls\)"),
        (bytes(128) + b"DICM\2\0\0\0", "a DICOM file"),
        (b"PatientID\nA\0B\n", "is not text"),
        (b"\xff\xfePatientID", "is not text"),
    ],
)
def test_list_that_would_request_something_else_is_an_error_with_its_place(
    folder: Path, content: bytes, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        entries(folder, content)


def test_list_in_another_character_set_is_sent_as_it_is_if_a_key_names_the_set(folder: Path) -> None:
    [row] = entries(folder, b"PatientName\nM\xfcller\n", "SpecificCharacterSet=ISO_IR 100")
    assert keys_of(row) == {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "M\u00fcller"}
    with pytest.raises(UsageError, match="is not UTF-8"):
        entries(folder, b"PatientName\nM\xfcller\n", "SpecificCharacterSet=")


def test_list_in_another_character_set_is_sent_as_it_is_if_a_column_names_the_set(folder: Path) -> None:
    [row] = entries(folder, b"PatientName,SpecificCharacterSet,PatientID\nM\xfcller,ISO_IR 100,1\n")
    assert keys_of(row)["PatientName"] == "M\u00fcller"


def test_entry_knows_its_number_line_and_own_keys(folder: Path) -> None:
    first, second = entries(folder, "PatientID,AccessionNumber\n\nP1,A1\nP2,A2\n", "Modality=CT")
    assert [(one.number, one.line) for one in (first, second)] == [(1, 3), (2, 4)]
    assert second.keys == ("PatientID=P2", "AccessionNumber=A2")
    assert second.place == "line 4: PatientID=P2, AccessionNumber=A2"
    assert second.model == "", "that of the configuration"
    assert Row(1, "PatientID=P2", second.identifier).place == "PatientID=P2"
    assert [(one.number, one.line) for one in entries(folder, LOG)] == [(1, 11), (2, 26)]


@pytest.mark.parametrize(
    ("content", "keys", "model", "level"),
    [
        ("PatientID\nP1\n", [], "PATIENT", "PATIENT"),
        ("PatientID\nP1\n", [], "STUDY", "STUDY"),
        ("PatientID\nP1\n", ["AccessionNumber=A1"], "PATIENT", "STUDY"),
        ("PatientID\nP1\n", ["Modality=CT"], "PATIENT", "SERIES"),
        ("PatientID\nP1\n", ["PatientName="], "PATIENT", "PATIENT"),
        ("PatientID\nP1\n", ["StudyInstanceUID=", "QueryRetrieveLevel=PATIENT"], "PATIENT", "PATIENT"),
        ("PatientID,modality\nP1,CT\n", [], "STUDY", "SERIES"),
        ("PatientID,Modality\nP1,CT\n", [], "PSONLY", "STUDY"),
        ("NumberOfFrames\n1\n", ["QueryRetrieveLevel=STUDY"], "STUDY", "STUDY"),
        ("PatientID\nP1\n", ["RequestAttributesSequence[0].RequestedProcedureID=A"], "PATIENT", "PATIENT"),
        ("PatientID,AccessionNumber\nP1,A1\n", ["QueryRetrieveLevel=PATIENT"], "PATIENT", "PATIENT"),
        ("StudyInstanceUID,SeriesInstanceUID\n1.2,1.3\n", [], "STUDY", "SERIES"),
        ("QueryRetrieveLevel,PatientID,StudyInstanceUID\nPATIENT,P1,\n", [], "PATIENT", "PATIENT"),
    ],
)
def test_level_of_an_entry_is_the_lowest_of_its_keys_unless_one_states_it(
    folder: Path, content: str, keys: list[str], model: str, level: str
) -> None:
    [row] = entries(folder, content, *keys, model=model)
    assert level_of(row) == level


def test_key_beside_a_list_may_not_have_a_blank_inside_its_uid(folder: Path) -> None:
    with pytest.raises(UsageError, match="SeriesInstanceUID: the UID has blanks in it: it would name something else"):
        entries(folder, "StudyInstanceUID\n1.2\n", "SeriesInstanceUID=1.2. 3")


@pytest.mark.parametrize("model", ["PATIENT", "STUDY"])
@pytest.mark.parametrize("key", ["StudyInstanceUID", "AccessionNumber", "InstanceNumber"])
def test_key_without_a_value_does_not_widen_the_entries_of_a_list(folder: Path, key: str, model: str) -> None:
    content = "PatientID\nP1\n"
    with pytest.raises(UsageError, match=f"{key} is empty: all that the other keys match would be requested"):
        entries(folder, content, f"{key}=", model=model)
    path = folder / f"list-{os.getpid()}"
    assert len(read_rows(str(path), [f"{key}="], model=model, returned=True)) == 1, "to be returned by a query"
    [row] = entries(folder, "QueryRetrieveLevel,PatientID\nSTUDY,P1\n", f"{key}=", model="STUDY")
    assert level_of(row) == "STUDY", "stated"


def test_column_without_a_cell_is_as_if_it_were_not_there_unless_it_is_a_unique_key(folder: Path) -> None:
    [row] = entries(folder, "StudyDate,AccessionNumber\n,A1\n")
    assert keys_of(row) == {"AccessionNumber": "A1"}
    [row] = entries(folder, "PatientID,StudyDate\nP1,\n", "QueryRetrieveLevel=PATIENT", model="PATIENT")
    assert keys_of(row) == {"PatientID": "P1"}
    stated = (
        ("PatientName,StudyDate\nA,\n", "QueryRetrieveLevel=PATIENT"),
        ("QueryRetrieveLevel,PatientName,StudyDate\nPATIENT,A,\n",),
    )
    for content, *keys in stated:
        [row] = entries(folder, content, *keys, model="PATIENT")
        assert keys_of(row) == {"PatientName": "A"}
    for content in (
        "AccessionNumber\n,\n",
        "StudyInstanceUID,AccessionNumber\n,A1\n,A2\n",
        "PatientID,StudyDate\nP1,\n",  # all studies of the patient
    ):
        with pytest.raises(UsageError, match=r"is blank|no entries"):
            entries(folder, content)


def test_entry_that_states_its_level_needs_no_unique_key_above_it(folder: Path) -> None:
    """As in the list of --failed, where a study without a patient ID stands beside others."""
    content = "QueryRetrieveLevel,PatientID,StudyInstanceUID\nSTUDY,,1.2.3\nSTUDY,P1,1.2.4\n"
    assert [keys_of(row) for row in entries(folder, content)] == [
        {"StudyInstanceUID": "1.2.3"},
        {"PatientID": "P1", "StudyInstanceUID": "1.2.4"},
    ]


def test_entry_with_its_unique_key_needs_no_other(folder: Path) -> None:
    rows = entries(folder, "StudyInstanceUID,AccessionNumber\n1.2,\n1.3,A1\n")
    assert [keys_of(row) for row in rows] == [
        {"StudyInstanceUID": "1.2"},
        {"StudyInstanceUID": "1.3", "AccessionNumber": "A1"},
    ]


def test_list_without_headings_has_one_uid_in_a_line(folder: Path) -> None:
    assert [keys_of(row) for row in entries(folder, "1.2.3,,\n1.2.4\n")] == [
        {"StudyInstanceUID": "1.2.3"},
        {"StudyInstanceUID": "1.2.4"},
    ]
    assert [keys_of(row) for row in entries(folder, "1.2.3;;\n")] == [{"StudyInstanceUID": "1.2.3"}]
    with pytest.raises(UsageError, match="does not name columns"):
        entries(folder, "1.2.3,1.2.4\n")


@pytest.mark.parametrize("value", ["A,1", "A;1", "A|1", "A,1;2|3"])
def test_list_of_one_column_has_no_delimiter(folder: Path, value: str) -> None:
    assert [keys_of(row) for row in entries(folder, f"AccessionNumber\n{value}\n")] == [{"AccessionNumber": value}]


def test_list_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"1.2.3\n", b"StudyInstanceUID\nx\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        with pytest.raises(UsageError, match=r"line 2.* of standard input") if b"x" in content else nullcontext():
            assert [row.text for row in read_rows("-", model="STUDY")] == ["StudyInstanceUID=1.2.3"]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="the list standard input has no entries"):
        read_rows("-", model="STUDY")


@pytest.mark.parametrize(("name", "reason"), [("gone", "No such file"), ("a\0b", "null byte")])
def test_list_that_cannot_be_read_is_an_error(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"cannot read the list .*: .*{reason}"):
        read_rows(str(folder / name), model="STUDY")


def test_further_columns_may_be_left_out_at_the_end_of_a_line(folder: Path) -> None:
    first, second = entries(folder, "StudyInstanceUID,Ward\n1.2.3\n1.2.4,7\n")
    assert (first.columns, second.columns) == ((), (("Ward", "7"),))


def test_entries_have_one_key_in_the_journal_only_if_archive_and_request_are_the_same(folder: Path) -> None:
    rows = [*entries(folder, "1.2.3\n1.2.4\n"), *entries(folder, "1.2.3\n", "PatientID=P1")]
    keys = {row.key(archive) for row in rows for archive in ("A@one:104", "B@one:104", "A@two:104")}
    assert len(keys) == 9
    assert rows[0].key("A@\udcff:104") not in keys
    assert rows[0].key("A") == entries(folder, "StudyInstanceUID\n\n1.2.3\n")[0].key("A")


def test_cell_that_is_not_utf_8_and_not_sent_does_no_harm(folder: Path) -> None:
    [row] = entries(folder, b"StudyInstanceUID,Ward\n1.2.3,S\xfcd\n")
    assert dict(row.columns) == {"Ward": "S\ufffdd"}


# -- answers of a query ------------------------------------------------------------------------------------------------

LOG = """I: Requesting Association
I: Request Identifiers:
I:
I: # Dicom-Data-Set
I: # Used TransferSyntax: Little Endian Explicit
I: (0008,0052) CS [STUDY]                                  #   6, 1 QueryRetrieveLevel
I: (0010,0020) LO [P*]                                     #   2, 1 PatientID
I: (0020,000d) UI (no value available)                     #   0, 0 StudyInstanceUID
I:
I: ---------------------------
I: Find Response: 1 (Pending)
I:
I: # Dicom-Data-Set
I: # Used TransferSyntax: Little Endian Explicit
I: (0008,0052) CS [STUDY ]                                 #   6, 1 QueryRetrieveLevel
I: (0008,0054) AE [ARCHIVE ]                               #   8, 1 RetrieveAETitle
I: (0010,0020) LO [P1]                                     #   2, 1 PatientID
I: (0020,000d) UI [1.2.3\0]                                 #   6, 1 StudyInstanceUID
I: (0040,0275) SQ (Sequence with explicit length #=1)      #   0, 1 RequestAttributesSequence
I:   (fffe,e000) na (Item with explicit length #=1)          #   0, 1 Item
I:     (0020,000d) UI [9.9]                                    #   4, 1 StudyInstanceUID
I:   (fffe,e00d) na (ItemDelimitationItem for re-encoding)   #   0, 0 ItemDelimitationItem
I: (fffe,e0dd) na (SequenceDelimitationItem for re-encod.) #   0, 0 SequenceDelimitationItem
I:
I: ---------------------------
I: Find Response: 2 (Pending)
I:
I: # Dicom-Data-Set
I: (0008,0052) CS [STUDY ]                                 #   6, 1 QueryRetrieveLevel
I: (0020,000d) UI [1.2.4 ]                                 #   6, 1 StudyInstanceUID
I:
I: Received Final Find Response (Success)
I: (0020,000d) UI [1.2.5 ]                                 #   of nothing
""".replace("I:\n", "I: \n")
QIDO = [
    {
        "00081190": {"vr": "UR", "Value": ["http://archive/studies/1.2.3"]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00201208": {"vr": "IS", "Value": [7]},
    },
    {"0020000D": {"vr": "UI", "Value": ["1.2.4"]}, "00100020": {"vr": "LO"}},
]


@pytest.mark.parametrize(
    "text",
    [LOG, LOG.replace("I: ", "D: "), LOG.replace("I: ", ""), LOG.replace("I: \n", "I:\n"), json.dumps(QIDO, indent=1)],
)
def test_answers_of_a_query_are_requested_by_their_unique_keys(folder: Path, text: str) -> None:
    rows = entries(folder, text)
    assert [keys_of(row) for row in rows] == [{"StudyInstanceUID": "1.2.3"}, {"StudyInstanceUID": "1.2.4"}]
    assert {level_of(row) for row in rows} == {"STUDY"}


def test_single_answer_and_a_key_of_all_entries_are_a_request(folder: Path) -> None:
    [row] = entries(folder, json.dumps(QIDO[0]), "AccessionNumber=A1")
    assert keys_of(row) == {"StudyInstanceUID": "1.2.3", "AccessionNumber": "A1"}


def test_patient_id_in_the_character_set_of_its_answer_is_sent_as_it_is(folder: Path) -> None:
    named = LOG.replace("(0008,0054) AE [ARCHIVE ]", "(0008,0005) CS [ISO_IR 100]").replace("[P1]", "[J\xf6rg]")
    first, _ = entries(
        folder, named.replace("[1.2.4 ]", "[1.2.4 ]\n(0010,0020) LO [P2]").encode("latin-1"), model="PATIENT"
    )
    assert keys_of(first)["PatientID"] == "J\xf6rg"
    unnamed = LOG.replace("[P1]", "[J\xf6rg]").encode("latin-1")
    with pytest.raises(UsageError, match="PatientID: the value is not UTF-8"):
        entries(folder, unnamed, model="PATIENT")


def test_answers_are_requested_at_the_level_that_a_key_states(folder: Path) -> None:
    series = [
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "0020000E": {"vr": "UI", "Value": [f"1.2.3.{number}"]}}
        for number in (1, 2)
    ]
    [first, _] = entries(folder, json.dumps(series))
    assert keys_of(first) == {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
    rows = entries(folder, json.dumps(series), "QueryRetrieveLevel=STUDY")
    assert [keys_of(row) for row in rows] == [{"StudyInstanceUID": "1.2.3"}] * 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LOG.replace("(0020,000d) UI [1.2.4 ]", "(0020,000d) UI [1.2.4.."), "line 30: the value is cut off"),
        (LOG.replace("(0020,000d) UI [1.2.4 ]", "(0020,0010) SH [1.2.4 ]"), "line 26 .* has no StudyInstanceUID"),
        (json.dumps([QIDO[0], {}], indent=1), "line 28 .* neither a level nor a unique key"),
        (json.dumps([QIDO[0], 7]), "answer 2 is not a data set"),
        ('[{"0020000D": {"vr": "UI", "Value": [1.2]}}]', "answer 1: StudyInstanceUID"),
        ('[{"0020000D": {"vr": "UI", "Value": ["x"]}}]', "'x' is not a UID"),
        ("[{", "not valid JSON"),
        ("[]", "has no entries"),
        ("I: Request Identifiers:\n(0020,000d) UI [1.2.5 ]\n", "has no entries"),
    ],
)
def test_answer_that_is_no_request_is_an_error_with_its_line(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        entries(folder, text)


# -- tables of a program -----------------------------------------------------------------------------------------------


def test_entry_of_a_table_is_named_like_the_columns_of_a_list() -> None:
    row = {"Accession Number": 1234, "Study Date": pydicom.valuerep.DA("20200131"), "Ward": 7, "PatientName": None}
    keys = keys_of_row(row, {})
    assert keys == {
        "AccessionNumber": "1234",
        "StudyDate": "20200131",
        "PatientName": "",
        "QueryRetrieveLevel": "STUDY",
    }


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"PatientID": 12345.0}, "PatientID is the number 12345.0"),
        ({"AccessionNumber": "1.2E+10"}, "scientific notation"),
        ({"StudyInstanceUID": "study"}, "is not a UID"),
        ({"StudyInstanceUID": float("nan")}, "StudyInstanceUID is blank"),
        ({"MRN": "1"}, "'MRN' is not named by a keyword"),
        ({"PatientID": "1", "Patient ID": "2"}, "PatientID twice"),
    ],
)
def test_entry_of_a_table_that_would_request_something_else_is_an_error(row: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        keys_of_row(row, {})


def test_entries_of_a_table_that_would_match_more_than_others_are_not_requested() -> None:
    rows: list[dict[str, object]] = [
        {"PatientID": "1", "AccessionNumber": "A1", "StudyDate": ""},
        {"PatientID": "1", "AccessionNumber": float("nan"), "StudyDate": ""},
        {"PatientID": "1", "AccessionNumber": "A*"},
        {"AccessionNumber": "*"},
        {"StudyInstanceUID": "1.2.3", "AccessionNumber": ""},
    ]
    entries = entries_of(rows)
    assert [isinstance(one, UsageError) for one in entries] == [False, True, False, True, False]
    assert "AccessionNumber is blank" in str(entries[1])
    assert "everything would match" in str(entries[3])


def test_keys_of_a_program_have_the_level_of_the_lowest_one() -> None:
    for keys, level in (
        ({"PatientID": "1"}, "PATIENT"),
        ({"PatientID": "1", "PatientName": ""}, "PATIENT"),
        ({"PatientID": "1", "AccessionNumber": "A1"}, "STUDY"),
        ({"PatientName": "DOE*", "StudyInstanceUID": "1.2"}, "STUDY"),
    ):
        identifier, model = identifier_of(keys)
        assert (identifier.text(LEVEL), model) == (level, level)
    with pytest.raises(UsageError, match="neither a level nor a unique key"):
        identifier_of({"AccessionNumber": "A1"})
    assert identifier_of({"AccessionNumber": "A1"}, resolves=True)[0].text(LEVEL) == "STUDY"


@pytest.mark.parametrize("missing", [None, "", [], " ", float("nan")])
def test_missing_value_of_a_program_does_not_widen_its_request(missing: object) -> None:
    for resolves in (False, True):
        with pytest.raises(UsageError, match="StudyInstanceUID is empty: all that the other keys match"):
            identifier_of({"PatientID": "1", "StudyInstanceUID": missing}, resolves=resolves)
        with pytest.raises(UsageError, match="SeriesInstanceUID is empty"):
            identifier_of({"StudyInstanceUID": "1.2", "SeriesInstanceUID": missing}, resolves=resolves)
        with pytest.raises(UsageError, match="AccessionNumber is empty"):
            identifier_of({"PatientID": "1", "AccessionNumber": missing}, resolves=resolves)


def test_empty_unique_key_beside_a_stated_level_is_told(caplog: pytest.LogCaptureFixture) -> None:
    identifier_of({"QueryRetrieveLevel": "STUDY", "PatientID": "1", "StudyInstanceUID": ""})
    identifier_of({"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "", "SeriesInstanceUID": "1.2"})
    told = [record.message for record in caplog.records if "is empty" in record.message]
    assert told == ["StudyInstanceUID is empty: all that the other keys match is requested"]


def test_key_of_unknown_level_is_one_of_objects_and_has_to_be_matched_first() -> None:
    keys = {"PatientID": "1", "InstanceNumber": "1"}
    with pytest.raises(UsageError, match="InstanceNumber may be a key of any level"):
        identifier_of(keys)
    for options in ({"resolves": True}, {"lists": True}):
        assert identifier_of(keys, **options)[0].text(LEVEL) == "IMAGE"
    assert identifier_of({**keys, "QueryRetrieveLevel": "PATIENT"})[0].text(LEVEL) == "PATIENT"
    [row] = entries_of([keys])
    assert isinstance(row, Row)
    assert level_of(row) == "PATIENT", "always matched by C-FIND"


def test_entry_of_a_table_with_a_blank_study_does_not_request_the_patient() -> None:
    [alone] = entries_of([{"PatientID": "1", "AccessionNumber": None}])
    assert "AccessionNumber is blank: the entry would match all studies of a patient" in str(alone)
    [stated] = entries_of([{"PatientID": "1", "AccessionNumber": None, "QueryRetrieveLevel": "PATIENT"}])
    assert isinstance(stated, Row)


def test_columns_of_a_table_that_are_not_sent_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    assert len(entries_of([{"StudyInstanceUID": f"1.{number}", "Ward": "7", "Bed": 1} for number in range(3)])) == 3
    assert [record.message for record in caplog.records] == ["columns 'Ward', 'Bed' name no attribute: not sent"]


# -- properties --------------------------------------------------------------------------------------------------------

UIDS = st.lists(st.integers(0, 10**6), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
PRINTED = st.characters(categories=("L", "N", "P", "S"), include_characters=" ")
PATIENTS = (
    st.text(PRINTED, min_size=1, max_size=12)
    .map(str.strip)
    .filter(
        lambda text: text.strip(",;|") and "\\" not in text and "E" not in text.upper()  # 1.2E3 is an error
    )
)
SAID = {
    "PatientID": PATIENTS,
    "StudyInstanceUID": UIDS,
    "Ward": st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
}
DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    }
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])


@given(
    table=st.lists(st.fixed_dictionaries(SAID), min_size=1, max_size=4),
    order=st.permutations(list(SAID)),
    dialect=DIALECTS,
    encoding=ENCODINGS,
)
def test_list_in_any_dialect_gives_back_what_was_written(
    folder: Path, table: list[dict[str, str]], order: list[str], dialect: dict[str, Any], encoding: str
) -> None:
    written = io.StringIO()
    writer = csv.DictWriter(written, order, **dialect)
    writer.writeheader()
    writer.writerows(table)
    rows = entries(folder, written.getvalue().encode(encoding))
    comments = [record for record in table if record[order[0]].lstrip().startswith("#")]
    if comments and dialect["quoting"] == csv.QUOTE_MINIMAL:
        return
    assert [row.text for row in rows] == [
        ", ".join(f"{name}={_unmarked(record[name])}" for name in order if name != "Ward") for record in table
    ]
    assert [dict(row.columns).get("Ward", "") for row in rows] == [_unmarked(record["Ward"]) for record in table]


def _unmarked(text: str) -> str:
    text = text.strip()
    marked = text.startswith('="') and text.endswith('"') and len(text) > 2 and '"' not in text[2:-1]
    return text[2:-1].strip() if marked else text


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b'sep="\nPatientID\n1')
@example(b"sep= \nPatientID\n1")
@example(codecs.BOM_UTF16_LE + b"\0\xd8")
@example(b"sep=\n")
@example(b'sep="\nPatientID\n1')
@example(b"[" * 100_000)
def test_bytes_are_a_list_or_an_error_and_keys_are_in_the_list(folder: Path, content: bytes) -> None:
    with suppress(UsageError):
        for row in entries(folder, content):
            for value in keys_of(row).values():
                assert value.encode() in content.replace(b"\0", b"") or b"ISO_IR" in value.encode()


def test_entry_that_begins_like_a_comment_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("Ward,StudyInstanceUID\n# exported today\n#3,1.2.3\n")
    assert [row.text for row in read_rows(str(path), model="STUDY")] == ["StudyInstanceUID=1.2.3"]


def test_selection_is_part_of_what_identifies_an_entry_and_none_leaves_old_journals_valid(tmp_path: Path) -> None:
    [row] = entries(tmp_path, "1.2.3\n")
    assert row.key("A") == row.key("A", Selection()) == row.key("A", Selection(max_studies=5))
    selections = [Selection(resolve=True), Selection(only=("Modality=CT",)), Selection(exclude=("Modality=CT",))]
    assert len({row.key("A"), *(row.key("A", one) for one in selections)}) == 4
    twice = Selection(only=("Modality=CT", "Modality=C*", "Modality=CT"))
    assert row.key("A", twice) == row.key("A", Selection(only=("Modality=C*", "Modality=CT")))
