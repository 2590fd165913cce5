"""Identifiers made of keys and query files (PS3.4 C.4.2.1.4.1)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identifiers import sent, values
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode, values_of
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query.encoded_keys import keys_of
from movescu.query.identifier import Identifier, make_identifier
from movescu.query.key import Key

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

# a key, and the element that the archive gets in explicit VR little endian
KEYS = {
    "QueryRetrieveLevel=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "0008,0052=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "8,52=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "0x0008,0x0052=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "(0008,0052)=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "00080052=STUDY": b"\x08\0\x52\0CS\6\0STUDY ",
    "0020,000d=1.2.3": b"\x20\0\x0d\0UI\6\x001.2.3\0",
    "SeriesInstanceUID=1.2\0\0\0": b"\x20\0\x0e\0UI\4\x001.2\0",
    "StudyInstanceUID=1.2\\1.3": b"\x20\0\x0d\0UI\x08\x001.2\\1.3\0",
    "PatientName=Doe^Jane  ": b"\x10\0\x10\0PN\x08\0Doe^Jane",
    "PatientName": b"\x10\0\x10\0PN\0\0",
    "PatientName=": b"\x10\0\x10\0PN\0\0",
    "PatientID=a=b": b"\x10\0\x20\0LO\4\0a=b ",
    "Rows=512\\-1": b"\x28\0\x10\0US\4\0\0\2\xff\xff",
    "0028,0106=1": b"\x28\0\x06\1US\2\0\1\0",
    "RegionLocationMinX0=70000": b"\x18\0\x18\x60UL\4\0\x70\x11\1\0",
    "0018,9087=1.5": b"\x18\0\x87\x90FD\x08\0\0\0\0\0\0\0\xf8\x3f",
    "FrameIncrementPointer=(0018,1063)": b"\x28\0\x09\0AT\4\0\x18\0\x63\x10",
    "0066,0040=10\\-1": b"\x66\0\x40\0OL\0\0\x08\0\0\0\x0a\0\0\0\xff\xff\xff\xff",
    "SOPClassUID==CTImageStorage": b"\x08\0\x16\0UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0",
    "7fe0,0010=0102\\0304": b"\xe0\x7f\x10\0OW\0\0\4\0\0\0\2\1\4\3",
    "ReferencedStudySequence=": b"\x08\0\x10\x11SQ\0\0\0\0\0\0",
    "0009,0010=ACME": b"\x09\0\x10\0LO\4\0ACME",
}


@pytest.mark.parametrize("keys", [*((key,) for key in KEYS), tuple(KEYS), tuple(reversed(KEYS))])
def test_keys_alone_are_encoded_like_a_recoded_data_set(keys: tuple[str, ...]) -> None:
    data = sent(make_identifier(keys))
    assert data == recode(data, EXPLICIT_LITTLE, Encoding(transfer_syntax=EXPLICIT_LITTLE))


@pytest.mark.parametrize("key", KEYS)
def test_key_reaches_the_archive_with_tag_vr_and_value(key: str) -> None:
    assert sent(make_identifier([key])) == KEYS[key]


WRONG = {
    "0008=X": "bad key format",
    "NoSuchKeyword=1": "NoSuchKeyword",
    " PatientID=1": "PatientID",
    "0009,1001=1": "unknown tag: (0009,1001)",
    "fffe,e000=": "(fffe,e000)",
    "Rows=abc": 'cannot put tag value: (0028,0010)="abc"',
    "ReferencedStudySequence=1": "cannot put tag value: (0008,1110)",
    "FrameIncrementPointer=PatientID": "cannot put tag value: (0028,0009)",
    "PatientID=" + "x" * 70000: "longer than 65534",
}


@pytest.mark.parametrize("key", WRONG)
def test_invalid_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_identifier([key])
    assert WRONG[key] in str(raised.value)


def test_left_of_two_keys_for_an_element_counts() -> None:
    assert values(make_identifier(["PatientID=1", "PatientID=2"])) == {0x00100020: b"1 "}


def test_keys_are_sorted_by_tag() -> None:
    tags = list(values(make_identifier(["PatientID=1", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=2"])))
    assert tags == [0x00080052, 0x00100020, 0x0020000D]


def query() -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.PatientID = "PAT001"
    dataset.StudyInstanceUID = ["1.2.3", "1.2.4"]
    item = pydicom.Dataset()
    item.ReferencedSOPInstanceUID = "1.9"
    dataset.ReferencedStudySequence = [item]
    return dataset


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def write(path: Path, syntax: pydicom.uid.UID, *, part10: bool) -> str:
    dataset = query()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.2.2.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    dataset.file_meta.TransferSyntaxUID = syntax
    if part10:
        dataset.save_as(path, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return str(path)


# Nothing tells a bare deflated data set from noise.
FILES = [*((syntax, True) for syntax in SYNTAXES), *((syntax, False) for syntax in SYNTAXES[:3])]


@pytest.mark.parametrize(("syntax", "part10"), FILES)
def test_query_file_becomes_the_same_request_in_every_encoding(
    tmp_path: Path,
    syntax: pydicom.uid.UID,
    part10: bool,  # parametrised
) -> None:
    identifier = make_identifier([], write(tmp_path / "query", syntax, part10=part10))
    for target in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE):
        data = identifier.encode(target)
        assert len(data) % 2 == 0
        assert read(data, target.uid) == query()


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.name)
def test_file_without_preamble_becomes_the_same_request(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    path = Path(write(tmp_path / "query", syntax, part10=True))
    path.write_bytes(path.read_bytes()[132:])
    assert read(make_identifier([], str(path)).encode(EXPLICIT_LITTLE), EXPLICIT_LITTLE.uid) == query()


def read(data: bytes, uid: str) -> pydicom.Dataset:
    buffer = pydicom.filebase.DicomBytesIO()
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = uid
    buffer.write(bytes(128) + b"DICM")
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue() + data))


def test_key_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "query", ExplicitVRLittleEndian, part10=True)
    found = values(make_identifier(["PatientID=PAT002", "PatientName="], path))
    assert found[0x00100020] == b"PAT002"
    assert found[0x00100010] == b""
    assert found[0x00080052] == b"STUDY "


def test_file_meta_is_not_part_of_the_identifier(tmp_path: Path) -> None:
    path = write(tmp_path / "query", ExplicitVRLittleEndian, part10=True)
    assert min(values(make_identifier([], path))) == 0x00080052


NO_QUERIES = [b"", b"this is no DICOM file", bytes(128) + b"DICM", b"\xff" * 300, bytes(1000), b"\x08\0\x52\0CS\6\0STU"]


@pytest.mark.parametrize("content", NO_QUERIES)
def test_file_without_a_query_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "query"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="query"):
        make_identifier([], str(path))


def test_unreadable_query_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuch"):
        make_identifier([], str(tmp_path / "nosuch"))
    with pytest.raises(UsageError, match="directory"):
        make_identifier([], str(tmp_path))


def test_received_identifier_is_read_in_any_encoding(tmp_path: Path) -> None:
    identifier = make_identifier([], write(tmp_path / "query", ImplicitVRLittleEndian, part10=False))
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE):
        assert values_of(identifier.encode(syntax), syntax)[0x0020000D] == b"1.2.3\\1.2.4\0"
    assert values_of(b"", IMPLICIT_LITTLE) == {}


BINARY = {b"US": 2, b"FD": 8, b"OW": 2, b"UL": 4}
ANY_TAG = st.integers(0x00080001, 0x00FFFFFF).filter(lambda tag: tag & 0xFFFF)
ANY_VALUE = st.one_of(
    st.tuples(st.sampled_from((b"LO", b"PN", b"UT", b"UI", b"CS", b"UN", b"OB")), st.binary(max_size=12)),
    st.sampled_from(tuple(BINARY)).flatmap(
        lambda vr: st.tuples(
            st.just(vr),
            st.integers(0, 3).flatmap(lambda n: st.binary(min_size=n * BINARY[vr], max_size=n * BINARY[vr])),
        )
    ),
)
ANY_KEY = st.recursive(
    st.builds(lambda tag, field: Key(tag, *field), ANY_TAG, ANY_VALUE),
    lambda inner: st.builds(
        lambda tag, items: Key(tag, b"SQ", items=items), ANY_TAG, st.lists(st.lists(inner, max_size=3), max_size=2)
    ),
    max_leaves=6,
)


@given(st.lists(ANY_KEY, min_size=1, max_size=6))
def test_keys_survive_every_explicit_context(keys: list[Key]) -> None:
    identifier = Identifier(keys)
    for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE):
        assert keys_of(identifier.encode(syntax), syntax) == identifier.keys


@given(st.lists(ANY_KEY, max_size=6))
def test_plain_keys_are_encoded_as_beside_a_sequence(keys: list[Key]) -> None:
    last = Key(0xFFFAFFFA, b"SQ")  # for it the encoder is needed
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE):
        beside = Identifier((*keys, last)).encode(syntax)
        assert beside == Identifier(keys).encode(syntax) + Identifier((last,)).encode(syntax)


@given(st.lists(ANY_KEY, max_size=4), st.lists(ANY_KEY, max_size=4))
def test_identifier_has_the_left_of_equal_keys_in_order_of_tags(left: list[Key], right: list[Key]) -> None:
    identifier = Identifier((*left, *right))
    tags = [key.tag for key in identifier]
    assert tags == sorted({key.tag for key in (*left, *right)})
    for key in identifier:
        assert key == next(one for one in (*left, *right) if one.tag == key.tag)


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_group_length_is_calculated_for_the_context(syntax: TransferSyntax) -> None:
    data = make_identifier(["0008,0000=9", "QueryRetrieveLevel=STUDY", "PatientID=1"]).encode(syntax)
    assert int.from_bytes(data[8:12], "big" if syntax.big_endian else "little") == 14


def test_malformed_value_of_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "query"
    path.write_bytes(b"\x08\0\x52\0CS\6\0STUDY \x10\0\x10\0PN\4\0\xff\xfe\xff\0\x28\0\x10\0US\3\0\1\2\3")
    assert sent(make_identifier([], str(path))) == path.read_bytes()[:-5] + b"\4\0\1\2\3\0"
