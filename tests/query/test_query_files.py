"""Query files as JSON, text or standard input become the same request as DICOM files; invalid ones are named."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pydicom
import pytest
import scripted
from command import movescu
from encoded import IDENTITY, RICH, encode
from hypothesis import given
from hypothesis import strategies as st
from identifiers import sent, values

from movescu.dataset.transcoder import Encoding, recode
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import DataSetError, UsageError
from movescu.query.identifier import make_identifier
from movescu.query.json_model import read_json
from movescu.query.query_files import read_query_file

if TYPE_CHECKING:
    from pathlib import Path

JSON = """{
    "00080052": {"vr": "CS", "Value": ["STUDY"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "\u5c71\u7530^\u592a\u90ce"}]},
    "00100020": {"vr": "LO", "Value": ["PAT001"]},
    "00101000": {"vr": "LO", "Value": ["A", null, "B"]},
    "00101030": {"vr": "DS", "Value": [72.5, "80"]},
    "00200013": {"vr": "IS", "Value": [7]},
    "00189087": {"vr": "FD", "Value": [1.5, "NaN"]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280010": {"vr": "US", "Value": [512, 256]},
    "00280106": {"vr": "SS", "Value": [-1]},
    "00720083": {"vr": "UV", "Value": ["18446744073709551615"]},
    "00420011": {"vr": "OB", "InlineBinary": "AQID"},
    "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]},
                                        "00400008": {"vr": "SQ", "Value": [{}]}}, {}]},
    "StudyInstanceUID": {"Value": ["1.2.3"]},
    "0020000E": {"vr": "UI"}
}"""


def write(folder: Path, name: str, content: bytes | str) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def read(path: str, *keys: str) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(sent(make_identifier(keys, path))), force=True)


def test_json_becomes_the_request_it_describes(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, "query.json", JSON))
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.PatientName == "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"
    assert (dataset.PatientID, dataset.OtherPatientIDs, dataset.PatientWeight) == ("PAT001", ["A", "", "B"], [72.5, 80])
    assert (dataset.InstanceNumber, dataset.Rows, dataset.SmallestImagePixelValue) == (7, [512, 256], 0xFFFF - 0x10000)
    assert str(dataset.DiffusionBValue) == "[1.5, nan]"
    assert (dataset.FrameIncrementPointer, dataset.SelectorUVValue) == (0x00181063, 2**64 - 1)
    assert (dataset.EncapsulatedDocument, dataset.StudyInstanceUID) == (b"\1\2\3\0", "1.2.3")
    first, second = dataset.ScheduledProcedureStepSequence
    assert (first.Modality, len(first.ScheduledProtocolCodeSequence), len(second)) == ("CT", 1, 0)
    assert dataset["SeriesInstanceUID"].is_empty


def test_json_is_detected_by_name_or_content(tmp_path: Path) -> None:
    expected = make_identifier([], write(tmp_path, "a.JSON", JSON))
    assert make_identifier([], write(tmp_path, "query", "\ufeff" + JSON)) == expected
    assert make_identifier([], write(tmp_path, "query", f"\n [{JSON}]")) == expected


def test_json_of_another_implementation_becomes_the_same_request_as_its_source(tmp_path: Path) -> None:
    source = recode(encode(RICH), EXPLICIT_LITTLE, Encoding(EXPLICIT_LITTLE))
    dataset = pydicom.dcmread(io.BytesIO(source), force=True)
    del dataset[0x00290010:0x00300000]  # private elements have no VR in some JSON
    expected = sent(make_identifier([], write(tmp_path, "query.dcm", written(dataset))))
    assert sent(make_identifier([], write(tmp_path, "query.json", dataset.to_json()))) == expected


def written(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@pytest.mark.skipif(shutil.which("dcm2json") is None, reason="needs DCMTK's dcm2json (Debian: dcmtk)")
def test_json_of_dcmtk_becomes_the_same_request_as_its_source(tmp_path: Path) -> None:
    source = write(tmp_path, "query.dcm", recode(encode(RICH), EXPLICIT_LITTLE, Encoding(EXPLICIT_LITTLE)))
    done = subprocess.run(["dcm2json", "-q", source], check=True, capture_output=True)
    mine = values(make_identifier([], write(tmp_path, "query.json", done.stdout)))
    theirs = values(make_identifier([], source))
    # The text is UTF-8 there, and DS are numbers: "1.5" and "1.50" are not told apart.
    others = theirs.keys() - {0x00080005, 0x00101030}
    assert mine.keys() == theirs.keys()
    assert {tag: mine[tag] for tag in others} == {tag: theirs[tag] for tag in others}


def test_json_is_sent_in_the_character_set_that_it_names(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.json",
        '{"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "PatientName": {"Value": ["Gr\u00fcn"]}}',
    )
    assert values(make_identifier([], path))[0x00100010] == b"Gr\xfcn"
    assert values(make_identifier(["PatientID=\u00fc"], path))[0x00100020] == b"\xfc "


def test_key_is_sent_in_the_character_set_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.dump", "(0008,0005) CS [ISO_IR 144]\n(0008,0052) CS [STUDY]\n")
    found = values(make_identifier(["PatientName=\u041f\u0430"], path))
    assert found[0x00100010] == "\u041f\u0430".encode("iso8859_5")
    assert found[0x00080005] == b"ISO_IR 144"
    with pytest.raises(UsageError) as raised:
        make_identifier(["PatientName=\u5c71"], path)
    assert "is not in ISO_IR 144" in raised.value.hint


def test_private_key_leaves_the_blocks_of_the_file_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path, "a.dump", "(0009,0010) LO [ACME]\n(0009,1001) LO [x]\n(0008,0052) CS STUDY\n")
    found = values(make_identifier(['0009,01,"OTHER"=y', '0009,02,"ACME"=z'], path))
    private = {tag: value for tag, value in found.items() if tag >> 16 == 0x0009}
    assert private == {
        0x00090010: b"ACME",
        0x00090011: b"OTHER ",
        0x00091001: b"x ",
        0x00091002: b"z ",
        0x00091101: b"y ",
    }


@pytest.mark.parametrize(("encoding", "term"), [("utf-8", b"ISO_IR 192"), ("latin-1", None)])
def test_text_in_utf_8_gets_its_character_set_unless_it_names_one(
    encoding: str, term: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "a.dump", "(0008,0052) CS [STUDY]\n(0010,0010) PN [Gr\u00fcn]\n".encode(encoding))
    found = values(make_identifier([], path))
    assert found[0x00100010].strip() == "Gr\u00fcn".encode(encoding)
    assert found.get(0x00080005) == term
    assert bool(caplog.messages) == (term is None)


BROKEN_JSON = {
    '{"00080052": ': "line 1: not valid JSON",
    '\n\n{"00080052": {"vr": "CS" "Value": []}}': "line 3: not valid JSON",
    '{\n"00080052": {"vr": "CS",\n"Value": ["A"]},\n"00280010": {"vr": "US",\n"Value": ["x"]}}': "line 4: 00280010",
    '{"00080052": {"vr": "CS", "Value": "STUDY"}}': "Value must be an array",
    '{"00080052": "STUDY"}': "an element must be an object",
    '{"00080052": {"vr": "C", "Value": []}}': "'C' is not a value representation",
    '{"00080052": {"vr": 1}}': "1 is not a value representation",
    '{"00080052": {"vr": "CS", "Values": []}}': "'Values' is not one of",
    '{"80052": {"vr": "CS"}}': "neither a tag of eight digits nor a keyword",
    '{"00080052": {"vr": "CS"}, "00080052": {"vr": "CS"}}': "the name occurs twice",
    '{"00280010": {"vr": "US", "Value": [70000]}}': "00280010: the value does not fit",
    '{"00280010": {"vr": "US", "Value": [1.5]}}': "1.5 is not an integer",
    '{"00280010": {"vr": "US", "Value": [true]}}': "True is not an integer",
    '{"00189087": {"vr": "FD", "Value": ["x"]}}': "00189087: the value does not fit",
    '{"00100020": {"vr": "LO", "Value": [{}]}}': "{} is not text",
    '{"00100010": {"vr": "PN", "Value": [{"Name": "A"}]}}': "a name must be an object with",
    '{"00280009": {"vr": "AT", "Value": [1]}}': "1 is not a tag",
    '{"00420011": {"vr": "OB", "InlineBinary": "%"}}': "00420011: the value does not fit",
    '{"00420011": {"vr": "OB", "Value": ["1"]}}': "VR OB takes InlineBinary, not Value",
    '{"00420011": {"vr": "OB", "BulkDataURI": "http://x"}}': "bulk data are not supported",
    '{"00100020": {"vr": "LO", "InlineBinary": "AA=="}}': "InlineBinary must be text, and VR one of OB",
    '{"00400100": {"vr": "SQ", "Value": [1]}}': "00400100: an item must be an object",
    '{"00400100": {"vr": "SQ", "Value": [{"0": {}}]}}': "00400100: 0: neither",
    '{"FFFEE000": {"vr": "LO", "Value": ["A"]}}': "the tag cannot be an element",
    "[]": "a query file must have one data set, not 0",
    "[{}, {}]": "a query file must have one data set, not 2",
    "[1]": "a data set must be an object",
    "{}": "the data set has no element that a query could have",
    '{"00020010": {"vr": "UI"}}': "the data set has no element that a query could have",
    '{"00100020": {"vr": "LO", "Value": ["\u00ff"]}}': "the file is not UTF-8",
    '{"00280010": {"vr": "US", "Value": [' + "9" * 5000 + "]}}": "line 1: the JSON cannot be read",
    "[" * 100_000: "line 1: the JSON cannot be read",
    "{" + ",".join(f'"{number}": 1' for number in (*range(30_000), 29_999)) + "}": "29999: the name occurs twice",
    '{"00080005": {"Value": ["KLINGON"]}, "00100020": {"Value": ["A"]}}': "unknown character set 'KLINGON'",
}


@pytest.mark.parametrize("text", BROKEN_JSON, ids=[str(number) for number in range(len(BROKEN_JSON))])
def test_malformed_json_is_reported_with_its_line(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, "broken.json", text.encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        make_identifier([], path)
    assert path in str(raised.value)
    assert BROKEN_JSON[text] in str(raised.value)
    assert "line " in str(raised.value) or "no element" in str(raised.value)


def test_error_inside_an_item_has_the_line_of_its_element(tmp_path: Path) -> None:
    item = '{"00080060": {"vr": "CS"},\n"00280010": {"vr": "US", "Value": ["x"]}}'
    text = '{\n"00400100": {"vr": "SQ", "Value": [\n' + item + "]}}"
    with pytest.raises(UsageError, match="line 4: 00400100: 00280010: "):
        make_identifier([], write(tmp_path, "broken.json", text))


BROKEN_TEXT = {
    "(0008,0052) CS [STUDY]\nhello\n": "line 2: the line does not begin with a tag",
    "(0010,0010) DE VRIES\n": "line 1: DE is not a value representation",
    "(0010,0020) LO [A\n": "line 1: a value that begins with [",
    "# nothing\n\n": "no element",
    "(0002,0010) UI =LittleEndianExplicit\n": "no element",
    "(7fe0,0010) OB (PixelSequence #=1)\n(fffe,e000) pi 00\\01\n": "line 2: a query cannot have compressed pixel data",
    "(0010,0020) LO [" + "x" * 70_000 + "]": "line 1: the value does not fit VR LO: is longer",
    "(0040,0100) SQ\n(fffe,e000)\n" * 80: "nested deeper",
    "(0008,0052) CS [STUDY]\n\n(0040,0100) SQ\n(fffe,e000)\n": "line 4: the item that begins here has no end",
}


@pytest.mark.parametrize("text", BROKEN_TEXT, ids=[str(number) for number in range(len(BROKEN_TEXT))])
def test_malformed_text_is_reported_with_its_line(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, "broken.txt", text)
    with pytest.raises(UsageError) as raised:
        make_identifier([], path)
    assert path in str(raised.value)
    assert BROKEN_TEXT[text] in str(raised.value)


def test_text_is_detected_by_name_or_content(tmp_path: Path) -> None:
    text = "(0008,0052) CS [STUDY]\n(0020,000d) UI [1.2]\n"
    expected = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2"])
    for name, content in (
        ("query", text),
        ("query", "\n# a query\n" + text),
        ("q.TXT", "\n" + text),
        ("q", "\ufeff" + text),
    ):
        assert make_identifier([], write(tmp_path, name, content)) == expected


def test_number_with_trailing_characters_is_reported_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "movescu.query"):
        make_identifier([], write(tmp_path, "q.txt", "(0008,0052) CS STUDY\n(0028,0010) US 70000\n"))
    assert any(message.startswith("line 2 of the query file: ") for message in caplog.messages)


def test_truncated_image_is_refused_as_query(tmp_path: Path) -> None:
    whole = encode(IDENTITY)
    for size in (1, 7, 8, 20, len(whole) - 1):
        with pytest.raises(UsageError, match="is not DICOM"):
            make_identifier([], write(tmp_path, "query", whole[:size]))


OBJECT = [
    "QueryRetrieveLevel=SERIES",
    "PatientID=1",
    "PatientName=A",
    "StudyInstanceUID=1.2",
    "SeriesInstanceUID=1.3",
    "SOPInstanceUID=1.4",
    "Modality=CT",
    "SpecificCharacterSet=ISO_IR 100",
]
KEPT = {
    ("PATIENT", "SERIES"): {0x00080005, 0x00080052, 0x00100020, 0x0020000D, 0x0020000E},
    ("PATIENT", "IMAGE"): {0x00080005, 0x00080018, 0x00080052, 0x00100020, 0x0020000D, 0x0020000E},
    ("STUDY", "STUDY"): {0x00080005, 0x00080052, 0x0020000D},
    ("PSONLY", "STUDY"): {0x00080005, 0x00080052, 0x00100020, 0x0020000D},
}


@pytest.mark.parametrize(("model", "level"), KEPT)
def test_keys_only_makes_a_query_of_an_object(model: str, level: str, tmp_path: Path) -> None:
    path = write(tmp_path, "object", sent(make_identifier(OBJECT)))
    identifier = make_identifier([f"QueryRetrieveLevel={level}"], path, model=model, keys_only=True)
    assert {key.tag for key in identifier} == KEPT[model, level]


def test_file_with_more_elements_than_can_be_encoded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("movescu.query.query_files.MAX_OPEN", 3)
    item = "(fffe,e000)\n(0010,0020) LO a\n{}(fffe,e00d)\n"
    text = "(0008,0052) CS STUDY\n(0040,0100) SQ\n" + 5 * item + "(fffe,e0dd)\n"
    assert len(make_identifier([], write(tmp_path, "a.dump", text.replace("{}", ""))).keys) == 2
    with pytest.raises(UsageError, match="more than 3 elements"):
        make_identifier([], write(tmp_path, "a.dump", text.replace("{}", "(0010,0010) PN b\n")))


def test_file_without_a_key_of_a_retrieve_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.dump", "(0008,0016) UI [1.2]\n")
    with pytest.raises(UsageError, match=r"a\.dump' has no key"):
        make_identifier([], path, model="STUDY", keys_only=True)


def test_keys_only_keeps_keys_from_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "object", sent(make_identifier(OBJECT)))
    assert 0x00080060 in values(make_identifier(["Modality=CT"], path, model="STUDY", keys_only=True))


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["NaN", "00100020"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vr", "Value", "00400100", "00100020", "Alphabetic", "InlineBinary", "PatientID"]), inner
        )
    ),
    max_leaves=10,
)
VRS = st.sampled_from(["SQ", "PN", "LO", "US", "AT", "FL", "OB", "DS", "UI", "UN", "??"])
ELEMENT = st.fixed_dictionaries(
    {"vr": VRS}, optional={"Value": st.lists(ANY_JSON, max_size=3), "InlineBinary": ANY_JSON}
)


@given(ANY_JSON | st.dictionaries(st.sampled_from(["00080005", "00100020", "00400100", "Rows"]), ELEMENT))
def test_json_reader_raises_only_data_set_errors(model: object) -> None:
    with suppress(DataSetError):
        read_json(json.dumps(model).encode())


LINE = st.lists(
    st.sampled_from(
        ["(0010,0020)", "(fffe,e000)", "(0040,0100)", " ", "SQ", "LO", "US", "[", "]", "=", "#", "x", "1", "\\"]
    )
).map("".join)


@given(st.one_of(st.binary(), st.lists(LINE).map("\n".join).map(str.encode), st.binary().map(lambda data: b"{" + data)))
def test_query_file_reader_raises_only_usage_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with suppress(UsageError):
        read_query_file(str(path))


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    """Run the command against a closed port of this machine: an attempt to connect would give exit code 61."""
    words = [sys.executable, "-W", "error", "-m", "movescu", "127.0.0.1", "1", *arguments]
    done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("content", [b"", b"no DICOM", b'{"0": 1}', b"(0010,0020) LO [A", encode(IDENTITY)[:-1]])
def test_command_refuses_an_invalid_query_file_before_any_connection(content: bytes, tmp_path: Path) -> None:
    good = write(tmp_path, "good", encode(IDENTITY))
    bad = write(tmp_path, "bad", content)
    code, said = run(good, bad)
    assert code == 1
    assert said.count("error: ") == 1
    assert f"query file {bad!r} is not DICOM" in said
    assert "Traceback" not in said


def test_command_reads_standard_input() -> None:
    assert run("-", stdin=b"")[0] == 1
    assert "standard input" in run("-", stdin=b"")[1]
    assert run("-", stdin=b"(0008,0052) CS [STUDY]\n")[0] == 61
    assert run("-", stdin=encode(IDENTITY))[0] == 61


def test_command_sends_only_the_keys_of_an_object(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        received.append(session.identifier)
        session.respond()
        session.expect_release()

    received: list[bytes] = []
    path = write(tmp_path, "object", sent(make_identifier(OBJECT)))
    with scripted.archive(script) as archive:
        movescu("-S", "--keys-only", "-k", "QueryRetrieveLevel=STUDY", *archive.address, path, folder=tmp_path)
    expected = ["SpecificCharacterSet=ISO_IR 100", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2"]
    assert received == [sent(make_identifier(expected))]


def test_command_warns_and_continues() -> None:
    code, said = run("-k", "StudyInstanceUID=x", "-S")
    assert code == 61
    assert "W: StudyInstanceUID: the value is not a UID" in said
    assert "W: QueryRetrieveLevel is missing" in said


# -- answers of a query, and data sets printed by pydicom --------------------------------------------------------------

FOUND = """I: Find Response: {} (Pending)
I:
I: # Dicom-Data-Set
I: (0008,0052) CS [STUDY ]                                 #   6, 1 QueryRetrieveLevel
I: (0008,0054) AE [ARCHIVE ]                               #   8, 1 RetrieveAETitle
I: (0020,000d) UI [1.2.{}\0]                                 #   6, 1 StudyInstanceUID
I: (0020,1208) IS [3 ]                                     #   2, 1 NumberOfStudyRelatedInstances
I:
"""


def test_log_of_findscu_with_one_answer_is_the_request_for_it(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, "found.txt", "I: Requesting Association\n" + FOUND.format(1, 3)))
    assert {element.keyword: element.value for element in dataset} == {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "1.2.3",
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (FOUND.format(1, 3) + FOUND.format(2, 4), "2 answers, not one"),
        ("I: Request Identifiers:\nI: (0020,000d) UI [1.2]\n", "no answers"),
        ('[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}, {}]', "one data set, not 2; retrieve the answers .* --list"),
    ],
)
def test_answers_that_are_several_requests_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read(write(tmp_path, "found", text))


def test_answer_of_qido_is_the_request_for_it(tmp_path: Path) -> None:
    answer = {
        "00081190": {"vr": "UR", "Value": ["http://archive/studies/1.2.3"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00201206": {"vr": "IS", "Value": [3]},
    }
    dataset = read(write(tmp_path, "found", json.dumps([answer])))
    assert {element.keyword: element.value for element in dataset} == {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "1.2.3",
    }
    dataset = read(write(tmp_path, "request", json.dumps(answer)))
    assert dataset.NumberOfStudyRelatedSeries == 3


PRINTED_VALUES = {
    "StudyInstanceUID": st.sampled_from(["1.2.3", ["1.2.3", "1.2.4"], ""]),
    "PatientName": st.text(st.characters(categories=("L", "P", "S"), exclude_characters="\\=^"), max_size=10),
    "PatientID": st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="\\"), max_size=10),
    "ModalitiesInStudy": st.lists(st.sampled_from(["CT", "MR"]), max_size=3),
    "NumberOfStudyRelatedInstances": st.none() | st.integers(0, 9),
    "Rows": st.integers(0, 9) | st.just([1, 2]),
    "StudyDate": st.sampled_from(["20200101-", "", None]),
    "RTPlanLabel": st.sampled_from(["UI: 1.2", "it's", 'a "b"']),
    "PatientWeight": st.sampled_from(["70.5", None]),
}


@given(st.fixed_dictionaries({"QueryRetrieveLevel": st.just("STUDY")}, optional=PRINTED_VALUES), st.booleans())
def test_data_set_printed_by_pydicom_is_understood(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object], blanks: bool
) -> None:
    dataset = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    text = str(dataset)
    path = write(tmp_path_factory.getbasetemp(), "printed", text if blanks else re.sub(" {2,}", " ", text))
    again = read(path)
    for element in dataset:
        assert (again[element.tag].is_empty and element.is_empty) or again[element.tag] == element
    assert {element.tag for element in again} - {0x00080005} == {element.tag for element in dataset}


@pytest.mark.parametrize("keyword", ["SOPClassUID", "PixelData", "RequestAttributesSequence"])
def test_printed_value_that_cannot_be_read_back_is_refused_with_its_line(tmp_path: Path, keyword: str) -> None:
    dataset = pydicom.Dataset()
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    if keyword == "PixelData":
        dataset.add_new(0x7FE00010, "OW", bytes(100))
    elif keyword == "RequestAttributesSequence":
        dataset.RequestAttributesSequence = [pydicom.Dataset()]
    if keyword != "SOPClassUID":
        del dataset.SOPClassUID
    line = 1 if keyword == "SOPClassUID" else 2
    with pytest.raises(UsageError, match=f"line {line}: .*Dataset.to_json"):
        read(write(tmp_path, "printed", str(dataset)))


def test_file_printed_by_pydicom_is_read_without_its_file_meta(tmp_path: Path) -> None:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.StudyInstanceUID = "1.2.3"
    text = f"Dataset.file_meta -------------------------------\n{dataset.file_meta}\n{'-' * 49}\n{dataset}"
    assert read(write(tmp_path, "printed", text)).StudyInstanceUID == "1.2.3"
