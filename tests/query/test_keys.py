"""The extensions of ``-k`` beyond DCMTK's syntax, and the warnings about likely mistakes in keys."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from contextlib import suppress

import pydicom
import pytest
from encoded import el, item
from hypothesis import given
from hypothesis import strategies as st
from identifiers import sent, values

from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.python_keys import identifier_of


def elements(*parts: bytes) -> bytes:
    return b"".join(parts)


MODALITY = 0x00080060
SEQUENCE = 0x00400100  # Scheduled Procedure Step Sequence
CREATOR = el(0x00290010, "LO", b"SIEMENS CSA HEADER")

# keys, and the identifier that the archive gets in explicit VR little endian
SENT = {
    ("ScheduledProcedureStepSequence[0].Modality=CT",): el(SEQUENCE, "SQ", item(el(MODALITY, "CS", b"CT"))),
    ("0040,0100[0].0008,0060=CT",): el(SEQUENCE, "SQ", item(el(MODALITY, "CS", b"CT"))),
    ("(0040,0100)[0].00080060=CT",): el(SEQUENCE, "SQ", item(el(MODALITY, "CS", b"CT"))),
    ("00400100[0]",): el(SEQUENCE, "SQ", item(b"")),
    ("00400100[0]=",): el(SEQUENCE, "SQ", item(b"")),
    ("00400100[1].Modality=MR", "00400100[0].Modality=CT"): el(
        SEQUENCE, "SQ", item(el(MODALITY, "CS", b"CT")) + item(el(MODALITY, "CS", b"MR"))
    ),
    ("00400100[0].PatientID=1", "00400100=", "00400100[0].Modality=CT", "00400100[0].PatientID=2"): el(
        SEQUENCE, "SQ", item(el(MODALITY, "CS", b"CT") + el(0x00100020, "LO", b"1 "))
    ),
    ("00400100[0].ReferencedStudySequence[0].StudyInstanceUID=1.2",): el(
        SEQUENCE, "SQ", item(el(0x00081110, "SQ", item(el(0x0020000D, "UI", b"1.2\0"))))
    ),
    ("00400100[0].Modality=a=b.c[0].d",): el(SEQUENCE, "SQ", item(el(MODALITY, "CS", b"a=b.c[0].d"))),
    ("PatientID=ScheduledProcedureStepSequence[0].Modality",): el(
        0x00100020, "LO", b"ScheduledProcedureStepSequence[0].Modality"
    ),
    ('0029,08,"SIEMENS CSA HEADER"=MR',): CREATOR + el(0x00291008, "CS", b"MR"),
    ('(0029,08,"SIEMENS CSA HEADER")=MR',): CREATOR + el(0x00291008, "CS", b"MR"),
    ('29,8,"SIEMENS CSA HEADER"=MR',): CREATOR + el(0x00291008, "CS", b"MR"),
    ('0029,10,"SIEMENS CSA HEADER"=1\\2',): CREATOR + el(0x00291010, "OB", b"\1\2"),
    ('0009,01,"A"=x', '0009,02,"B"=y', '0009,03,"A"=z'): elements(
        el(0x00090010, "LO", b"A "),
        el(0x00090011, "LO", b"B "),
        el(0x00091001, "LO", b"x "),
        el(0x00091003, "LO", b"z "),
        el(0x00091102, "LO", b"y "),
    ),
    ('0009,01,"A"=x', "0009,0010=B", "0009,0020=A"): elements(
        el(0x00090010, "LO", b"B "), el(0x00090020, "LO", b"A "), el(0x00092001, "LO", b"x ")
    ),
    ('0009,01,"A"',): el(0x00090010, "LO", b"A ") + el(0x00091001, "UN", b""),
    ('0009,01,"A"=' + "x" * 66,): el(0x00090010, "LO", b"A ") + el(0x00091001, "UT", b"x" * 66),
    ('00400100[0].0009,01,"A.[=]"=x',): el(
        SEQUENCE, "SQ", item(el(0x00090010, "LO", b"A.[=]" + b" ") + el(0x00091001, "LO", b"x "))
    ),
    ('0009,01,"A"[0].Modality=CT',): el(0x00090010, "LO", b"A ")
    + el(0x00091001, "SQ", item(el(MODALITY, "CS", b"CT"))),
    ("PatientName=Gr\u00fcn",): el(0x00080005, "CS", b"ISO_IR 192") + el(0x00100010, "PN", "Gr\u00fcn ".encode()),
    ("PatientName=Gr\u00fcn", "SpecificCharacterSet=ISO_IR 100"): el(0x00080005, "CS", b"ISO_IR 100")
    + el(0x00100010, "PN", b"Gr\xfcn"),
    ("0008,0005=\\ISO 2022 IR 87", "PatientName=A=\u5c71\u7530^\u592a"): el(0x00080005, "CS", b"\\ISO 2022 IR 87 ")
    + el(0x00100010, "PN", b"A=\x1b$B;3ED\x1b(B^\x1b$BB@\x1b(B "),
    ("0008,0005=\\ISO 2022 IR 149", "PatientName=\uae40"): el(0x00080005, "CS", b"\\ISO 2022 IR 149")
    + el(0x00100010, "PN", b"\x1b$)C\xb1\xe8"),
    ("00400100[0].PatientID=\u00e9",): el(0x00080005, "CS", b"ISO_IR 192")
    + el(SEQUENCE, "SQ", item(el(0x00100020, "LO", "\u00e9".encode()))),
    ("PatientID=\udcff\udcfe",): el(0x00100020, "LO", b"\xff\xfe"),
}


@pytest.mark.parametrize("keys", SENT, ids=lambda keys: " ".join(keys).encode("unicode_escape").decode()[:60])
def test_keys_reach_the_archive_as_intended(keys: tuple[str, ...]) -> None:
    assert sent(make_identifier(keys)) == SENT[keys]


def test_sequence_in_a_key_is_read_as_a_sequence_by_pydicom() -> None:
    keys = ["00400100[0].Modality=CT", '00400100[0].0009,01,"ACME"=x', "00400100[1].PatientName=Gr\u00fcn"]
    dataset = pydicom.dcmread(io.BytesIO(sent(make_identifier(keys))), force=True)
    first, second = dataset.ScheduledProcedureStepSequence
    assert (first.Modality, first.private_block(0x0009, "ACME")[0x01].value) == ("CT", "x")
    assert second.PatientName == "Gr\u00fcn"


OLD_NAMES = {
    "PatientsName": 0x00100010,
    "PatientsBirthDate": 0x00100030,
    "PatientsSex": 0x00100040,
    "ReferringPhysiciansName": 0x00080090,
    "PerformingPhysiciansName": 0x00081050,
    "PatientsMothersBirthName": 0x00101060,
    "NameOfPhysicianReadingStudy": 0x00081060,
    "PhysicianOfRecord": 0x00081048,
    "AdmittingDiagnosisDescription": 0x00081080,
    "ImageNumber": 0x00200013,
    "RETIRED_OtherPatientIDs": 0x00101000,
    "OtherPatientIDs": 0x00101000,
}


@pytest.mark.parametrize("name", OLD_NAMES)
def test_old_and_retired_names_are_understood(name: str) -> None:
    assert list(values(make_identifier([f"{name}=1"]))) == [OLD_NAMES[name]]


WRONG = {
    "PatientID[0].Modality=CT": "PatientID is not a sequence; its VR is LO",
    "00400100[1].Modality=CT": "none for this item",
    "00400100[0]=CT": "an item has elements, not a value",
    "00400100[0].=CT": "bad key format",
    "00400100[99999].Modality=CT": "item [99999] is beyond the maximum",
    "00400100[-1].Modality=CT": "bad key format",
    "ScheduledProcedureStepSequence[].Modality=CT": "bad key format",
    "ScheduledProcedureStepSequence.Modality=CT": "bad key format",
    "NoSuchSequence[0].Modality=CT": "NoSuchSequence",
    "00400100[0].NoSuchKeyword=1": "NoSuchKeyword",
    "0029,1010=1": "unknown tag: (0029,1010)",
    "fffc,fffc=00": "cannot create element",
    "": "bad key format",
}


@pytest.mark.parametrize("depth", [65, 5000])
def test_key_for_an_item_nested_too_deeply_is_refused_by_name(depth: int) -> None:
    path = ".".join(["0040,a730[0]"] * depth)
    with pytest.raises(UsageError, match=r"key '0040,a730\[0\]\.0040.*nested deeper than 64"):
        make_identifier([f"{path}.PatientID=1"])


def test_key_of_maximum_depth_is_sent() -> None:
    assert b"LO\2\0001 " in sent(make_identifier(["0040,a730[0]." * 64 + "PatientID=1"]))


def test_long_key_is_refused_at_once() -> None:
    """Trying each possessive s of an old name once took 8 GB for this key."""
    with pytest.raises(UsageError, match="bad key format"):
        make_identifier(["P" + "asA" * 43_000 + "=1"])
    with pytest.raises(UsageError, match="bad key format"):
        make_identifier([" " * 130_000 + "x,0020=1"])


@pytest.mark.parametrize("key", WRONG)
def test_invalid_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_identifier([key])
    assert WRONG[key] in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["SpecificCharacterSet=ISO_IR 100", "PatientName=\u5c71"], "'\u5c71' is not in ISO_IR 100"),
        (["SpecificCharacterSet=", "PatientName=\u5c71"], "'\u5c71' is not in the default character set"),
        (["SpecificCharacterSet=\\ISO 2022 IR 87", "PatientName=\uae40\u20ac"], "none of the character sets has all"),
        (["SpecificCharacterSet=KLINGON", "PatientName=\u5c71"], "unknown character set 'KLINGON'"),
    ],
)
def test_text_that_the_character_set_lacks_is_refused(keys: list[str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_identifier(keys)
    assert said in raised.value.hint


def warnings(caplog: pytest.LogCaptureFixture, *keys: str, model: str | None = None, relational: bool = False) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "movescu.query"):
        make_identifier(keys, model=model, relational=relational)
    assert all("\n" not in message for message in caplog.messages)
    return "\n".join(caplog.messages)


SPLIT = ("1. 2", "1.2\n.3", "1.2\\1. 3", "1.2\t3")


@pytest.mark.parametrize("value", SPLIT)
def test_blank_inside_a_uid_is_known_and_not_sent(value: str) -> None:
    identifier = make_identifier([f"StudyInstanceUID={value}"])
    assert identifier.keys[0].joined
    assert values(identifier)[0x0020000D].rstrip(b"\0") == "".join(value.split()).encode(), "as DCMTK sends it"
    assert not make_identifier([f"StudyInstanceUID= {value[0]} "]).keys[0].joined, "padding"


@pytest.mark.parametrize("value", [*SPLIT, "1.2.x", "1.2-3", "1.2\u00a0"])
def test_uid_that_is_none_is_refused_where_a_request_need_not_be_dcmtks(value: str) -> None:
    for keys in (
        {"StudyInstanceUID": value},
        {"PatientID": "1", "ReferencedStudySequence[0].StudyInstanceUID": value},
    ):
        with pytest.raises(UsageError, match=r"StudyInstanceUID: the UID has (blanks in it|characters other than)"):
            identifier_of(keys, resolves=True)
    for usual in (" 1.2 ", "1.2\0", "1.2 \\ 1.3", ["1.2", "1.3 "], "1.02", "1.2.*"):
        identifier_of({"StudyInstanceUID": usual})


DOUBTFUL = {
    "StudyInstanceUID=1.2.x": "StudyInstanceUID: the value is not a UID",
    "StudyInstanceUID=1.02": "StudyInstanceUID: the value is not a UID",
    "StudyInstanceUID=1.2\\1..3": "StudyInstanceUID: the value is not a UID",
    "StudyInstanceUID=" + "1." * 32 + "1": "StudyInstanceUID: the value has 65 characters; 64 are allowed",
    "StudyInstanceUID=1. 2": "key StudyInstanceUID: blanks were removed from the UID",
    "PatientBirthDate=31.01.2026": "PatientBirthDate: the value is not a date",
    "PatientBirthDate=20260230": "PatientBirthDate: the value is not a date",
    "StudyDate=2026-02-30": "StudyDate: '2026-02-30' is not a date",
    "StudyTime=2500": "StudyTime: the value is not a time",
    "AcquisitionDateTime=now": "AcquisitionDateTime: the value is not a date and time",
    "PatientID=" + "x" * 65: "PatientID: the value has 65 characters; 64 are allowed",
    "AccessionNumber=" + "x" * 17: "AccessionNumber: the value has 17 characters; 16 are allowed",
    "PatientID=a\nb": "PatientID: the value has control characters",
    "PatientName=" + "x" * 65: "PatientName: the name has more than 64",
    "PatientName=a=b=c=d": "PatientName: the name has more than three component groups",
    "PatientName=a^b^c^d^e^f": "PatientName: the name has more than five components",
    "PatientAge=42": "PatientAge: the value is not an age",
    "PatientSex=m": "PatientSex: the value has characters other than capital letters",
    "InstanceNumber=1.5": "InstanceNumber: the value is not an integer",
    "PatientWeight=heavy": "PatientWeight: the value is not a decimal number",
    "RetrieveAETitle=\u00fc": "RetrieveAETitle: the value is not ASCII",
    "Rows=70000": "key Rows: the value is not a valid US; it is sent as 4464",
    "Rows=12abc": "key Rows: the value is not a valid US; it is sent as 12",
    "PixelData=1x": "key PixelData: the value is not a valid OW; it is sent as 0001",
    "0018,605A=1e39": "key 0018,605A: the value is not a valid FL; it is sent as inf",
    "FrameIncrementPointer=(0010,0020)x": "it is sent as (0010,0020)",
    "PatientID=\udcff": "key PatientID: the value is invalid in the terminal's encoding",
    "00400100[0].StudyInstanceUID=x": "ScheduledProcedureStepSequence[0].StudyInstanceUID: the value is not a UID",
}


@pytest.mark.parametrize("key", DOUBTFUL)
def test_doubtful_value_is_sent_with_a_warning_that_names_its_key(key: str, caplog: pytest.LogCaptureFixture) -> None:
    assert DOUBTFUL[key] in warnings(caplog, key)


FINE = (
    *(
        "StudyInstanceUID=1.2.840.10008.1\\1.0",
        "StudyInstanceUID=",
        "PatientBirthDate=20240229",
        "StudyTime=101500-1630",
    ),
    *(
        "StudyDate=20260101-20260131",
        "StudyDate=-20260131",
        "StudyDate=20260101-",
        "StudyTime=10",
        "StudyTime=235960.1",
    ),
    *("PatientID=*", "PatientName=M?ller*", "ModalitiesInStudy=CT\\MR", "PatientAge=042Y", "InstanceNumber= -12 "),
    *(
        "PatientWeight=-1.5e3\\.5",
        "PatientName=Gr\u00fcn",
        "PatientComments=a\nb",
        "Rows=65535",
        "AcquisitionDateTime=2026",
    ),
    *(
        "AcquisitionDateTime=20260131101500.123456+0100-",
        "URNCodeValue=http://x/y",
        "RetrieveAETitle=MY AE",
        "0042,0011=ff",
    ),
)


@pytest.mark.parametrize("key", FINE)
def test_valid_value_is_sent_without_a_warning(key: str, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, key) == ""


def test_warnings_do_not_contain_values(caplog: pytest.LogCaptureFixture) -> None:
    said = warnings(caplog, "PatientBirthDate=31.01.1950", "PatientName=Secret^^^^^^", "PatientID=Secret" * 11)
    assert "1950" not in said
    assert "Secret" not in said


P, S, SE, I = "PatientID=1", "StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4"  # noqa: E741 - a level
MODELS = [
    ("PATIENT", ["QueryRetrieveLevel=PATIENT", P], ""),
    ("PATIENT", ["QueryRetrieveLevel=STUDY", P, S], ""),
    ("PATIENT", ["QueryRetrieveLevel=IMAGE", P, S, SE, I], ""),
    ("STUDY", ["QueryRetrieveLevel=STUDY", S], ""),
    ("STUDY", ["QueryRetrieveLevel=STUDY", S, P], ""),
    ("STUDY", ["QueryRetrieveLevel=SERIES", S, SE], ""),
    ("PSONLY", ["QueryRetrieveLevel=STUDY", P, S], ""),
    ("PATIENT", [P], "QueryRetrieveLevel is missing"),
    ("PATIENT", ["QueryRetrieveLevel=", P], "QueryRetrieveLevel is missing"),
    ("PATIENT", ["QueryRetrieveLevel=study", P, S], "QueryRetrieveLevel 'study' is not written in capital letters"),
    ("STUDY", [S], "QueryRetrieveLevel is missing; give STUDY"),
    ("STUDY", [S, SE, "SOPInstanceUID="], "QueryRetrieveLevel is missing; give SERIES"),
    ("STUDY", ["InstanceNumber="], "QueryRetrieveLevel is missing; give one of STUDY, SERIES, IMAGE"),
    ("STUDY", ["QueryRetrieveLevel=PATIENT", P], "QueryRetrieveLevel 'PATIENT' is not a level of this model"),
    ("PSONLY", ["QueryRetrieveLevel=SERIES", P, S, SE], "QueryRetrieveLevel 'SERIES' is not a level of this model"),
    ("PATIENT", ["QueryRetrieveLevel=STUDY", S], "levels above; add it, or use -S (Study Root)"),
    ("PATIENT", ["QueryRetrieveLevel=STUDY", S, "PatientID="], "PatientID is missing"),
    ("STUDY", ["QueryRetrieveLevel=IMAGE", S, I], "SeriesInstanceUID is missing"),
    ("STUDY", ["QueryRetrieveLevel=STUDY"], "StudyInstanceUID is missing"),
    ("STUDY", ["QueryRetrieveLevel=STUDY", S, I], "SOPInstanceUID is a key of level IMAGE, below STUDY"),
]


@pytest.mark.parametrize(("model", "keys", "said"), MODELS)
def test_keys_that_do_not_fit_the_level_are_reported(
    model: str, keys: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = warnings(caplog, *keys, model=model)
    assert said in found
    assert bool(said) == bool(found)


def test_relational_retrieve_needs_no_keys_of_upper_levels(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, "QueryRetrieveLevel=IMAGE", I, model="PATIENT", relational=True) == ""


def test_retrieve_by_keys_loads_no_query_file_reader() -> None:
    script = (
        "import sys\nfrom movescu.dictionary.uids import EXPLICIT_LITTLE\n"
        "from movescu.query.identifier import make_identifier\n"
        "keys = ['QueryRetrieveLevel=STUDY', 'StudyInstanceUID=1.2', 'PatientName=Gr\\u00fcn']\n"
        "make_identifier(keys, model='STUDY').encode(EXPLICIT_LITTLE)\n"
        "late = {'json', 'pydicom', 'movescu.query.json_model', 'movescu.query.dump_text', 'pathlib',\n"
        "        'movescu.query.query_files', 'movescu.query.encoded_keys', 'movescu.dictionary.files',\n"
        "        'movescu.dataset.parser', 'movescu.dataset.transcoder', 'zlib'}\n"
        "assert not late & sys.modules.keys(), late & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


NAME = st.sampled_from(
    ["PatientID", "Rows", "0010,0020", "(0040,0100)", "00400100[0]", '0029,08,"A"', "SOPClassUID", "0018,9087"]
)
PIECE = st.one_of(
    NAME, st.text(max_size=8), st.sampled_from(["[0]", "[", "]", ".", "=", ",", '"', "\\", "(", ")", "inf"])
)


@given(st.lists(st.lists(PIECE, max_size=8).map("".join), max_size=3))
def test_keys_raise_only_usage_errors(keys: list[str]) -> None:
    with suppress(UsageError):
        pydicom.dcmread(io.BytesIO(sent(make_identifier(keys, model="PATIENT"))), force=True)


@given(st.binary(max_size=30), NAME)
def test_bytes_of_a_terminal_raise_only_usage_errors(value: bytes, name: str) -> None:
    with suppress(UsageError):
        make_identifier([f"{name}={value.decode('utf-8', 'surrogateescape')}"])
