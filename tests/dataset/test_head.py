"""Values read from the head of a data set, compared with those that pydicom reads."""

from __future__ import annotations

import random
import warnings
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from movescu.dataset.character_sets import decode, terms_of
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.head import read_head
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE)
KEYWORDS = ("PatientName", "PatientID", "StudyInstanceUID", "SeriesNumber", "InstanceNumber", "Rows", "SliceLocation")
TAGS = frozenset(tag for keyword in KEYWORDS if (tag := dictionary.tag_of(keyword)))


def make(**values: Any) -> Dataset:  # whatever pydicom takes
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, syntax: TransferSyntax) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax.uid
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    meta = decode_file_meta(file.getvalue())
    assert meta
    return file.getvalue()[meta.length :]


def read(data: bytes, syntax: TransferSyntax, tags: frozenset[int] = TAGS) -> dict[str | None, str]:
    found = read_head(lambda position, size: data[position : position + size], syntax, tags)
    return {dictionary.keyword_of(tag): value for tag, value in found.items() if tag in tags}


def nested(*, undefined: bool) -> Sequence:
    """Return items with the wanted tags, which precede those of the object."""
    sequence = Sequence([make(PatientID="of the item", StudyInstanceUID="9.9", SeriesNumber=9)])
    sequence.is_undefined_length = undefined
    return sequence


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("size", [1, 40_000], ids=["small", "large"])
def test_values_are_those_of_the_object_in_every_encoding(
    syntax: TransferSyntax, size: int, *, undefined: bool
) -> None:
    dataset = make(
        ReferencedStudySequence=nested(undefined=undefined),
        PatientName="Doe^Jane",
        PatientID="PAT 1",
        StudyInstanceUID="1.2",
        SeriesNumber=-7,
        InstanceNumber="",
        Rows=512,
        SliceLocation=["1.50", "2"],
    )
    dataset.add_new(0x00090010, "LO", "SOMEBODY")
    dataset.add_new(0x00091001, "OB", bytes(size + 1))
    assert read(encoded(dataset, syntax), syntax) == {
        "PatientName": "Doe^Jane",
        "PatientID": "PAT 1",
        "StudyInstanceUID": "1.2",
        "SeriesNumber": "-7",
        "InstanceNumber": "",
        "Rows": "512",
        "SliceLocation": r"1.50\2",
    }


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
def test_sign_of_a_number_follows_pixel_representation(syntax: TransferSyntax) -> None:
    dataset = make(PixelRepresentation=1)
    dataset.add_new("SmallestImagePixelValue", "SS", -5)
    assert read(encoded(dataset, syntax), syntax, frozenset((0x00280106,))) == {"SmallestImagePixelValue": "-5"}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
@pytest.mark.parametrize("before", [8000, 8150, 8192])
def test_value_is_read_to_its_end(syntax: TransferSyntax, before: int) -> None:
    dataset = make(PatientComments="x" * 500)
    dataset.add_new(0x00090010, "LO", "SOMEBODY")
    dataset.add_new(0x00091001, "OB", bytes(before))
    assert read(encoded(dataset, syntax), syntax, frozenset((0x00104000,))) == {"PatientComments": "x" * 500}


@pytest.mark.parametrize("tags", [TAGS, frozenset((0x00100020, 0x00200011))])
def test_first_of_equal_elements_counts(tags: frozenset[int]) -> None:
    first, second = (encoded(make(PatientID=value), EXPLICIT_LITTLE) for value in "12")
    data = first + second[second.index(b"\x10\0\x20\0") :] + b"\x20\0\x11\0IS\2\0\x37 "
    assert read(data, EXPLICIT_LITTLE, tags) == {"PatientID": "1", "SeriesNumber": "7"}


def test_sequence_in_place_of_a_value_is_ignored() -> None:
    data = encoded(make(ReferencedStudySequence=nested(undefined=False), SeriesNumber=1), EXPLICIT_LITTLE)
    tags = frozenset((0x00081110, 0x00200011))
    assert read(data, EXPLICIT_LITTLE, tags) == {"SeriesNumber": "1"}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
def test_object_without_the_elements_has_no_values(syntax: TransferSyntax) -> None:
    assert read(encoded(make(), syntax), syntax) == {}


def test_elements_after_the_last_wanted_one_are_not_read() -> None:
    data = encoded(make(PatientID="1", SeriesNumber=1), EXPLICIT_LITTLE)
    asked: list[int] = []

    def source(position: int, size: int) -> bytes:
        asked.append(position)
        return (data + b"\xe0\x7f\x10\0OW\0\0" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20))[position:][:size]

    read_head(source, EXPLICIT_LITTLE, TAGS)
    assert asked == [0]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
def test_malformed_head_is_an_error_or_has_no_values(syntax: TransferSyntax) -> None:
    whole = encoded(make(PatientID="PAT 1", SeriesNumber=1), syntax)
    for size in range(len(whole)):
        try:
            found = read(whole[:size], syntax)
        except DataSetError:
            continue
        assert found in ({}, {"PatientID": "PAT 1"}) or syntax.deflated


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_head_reader_raises_only_data_set_errors(data: bytes, syntax: TransferSyntax) -> None:
    try:
        read(data, syntax)
    except DataSetError:
        return


def test_deflated_head_is_inflated_no_further_than_needed() -> None:
    head = encoded(make(PatientID="1"), EXPLICIT_LITTLE) + b"\xe0\x7f\x10\0OW\0\0" + (1 << 20).to_bytes(4, "little")
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(head + random.Random(0).randbytes(100_000)) + deflater.flush(zlib.Z_FULL_FLUSH)
    data += b"no deflated data"
    assert read(data, DEFLATED_LITTLE)["PatientID"] == "1"


NAMES = {
    "": b"Doe^Jane",
    "ISO_IR 192": "Müller^Jürgen=山田^太郎".encode(),
    "ISO_IR 100": "Buc^Jérôme".encode("latin_1"),
    "ISO_IR 144": "Люксембург".encode("iso8859_5"),
    "GB18030": "王^小东".encode("gb18030"),
    r"\ISO 2022 IR 87": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    r"ISO 2022 IR 13\ISO 2022 IR 87": b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    r"\ISO 2022 IR 149": b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^",
    r"ISO 2022 IR 100\ISO 2022 IR 144": b"Buc^J\xe9r\xf4me=\x1b-L\xbb\xee\xda\xe1",
}


@pytest.mark.parametrize("terms", NAMES)
def test_text_is_read_in_its_character_set_as_by_pydicom(terms: str) -> None:
    text = decode(NAMES[terms], terms_of(terms.encode()))
    dataset = make(SpecificCharacterSet=terms.split("\\"))
    dataset.add_new("PatientName", "PN", b"x")
    data = encoded(dataset, EXPLICIT_LITTLE)
    value = NAMES[terms] + b" " * (len(NAMES[terms]) & 1)
    data = data.replace(b"PN\x02\0x ", b"PN" + len(value).to_bytes(2, "little") + value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = str(dcmread(BytesIO(data), force=True).PatientName)
    assert text
    assert expected == text.strip() == read(data, EXPLICIT_LITTLE)["PatientName"]


def test_chinese_text_with_escape_sequences_is_read() -> None:  # which pydicom does not
    assert decode(b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1", ("", "ISO 2022 IR 58")) == "Zhang^XiaoDong=张^小"


def test_text_invalid_in_its_character_set_is_still_read() -> None:
    data = encoded(make(SpecificCharacterSet="ISO_IR 192", PatientID="xy"), EXPLICIT_LITTLE)
    assert read(data.replace(b"xy", b"\xe9y"), EXPLICIT_LITTLE)["PatientID"] == "éy"


def test_compressed_pixel_data_is_not_read() -> None:
    jpeg = next(syntax for syntax in TRANSFER_SYNTAXES.values() if syntax.encapsulated)
    head = encoded(make(PatientID="1"), EXPLICIT_LITTLE)
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"no fragments at all"
    assert read(head + pixels, jpeg, TAGS | {0x00280002}) == {"PatientID": "1"}
