"""Attribute matching (PS3.4 C.2.2.2): which C-FIND responses match a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query import matching
from movescu.query.identifier import make_identifier
from movescu.query.key import Key
from movescu.query.matching import is_universal, matches, number_of
from movescu.query.scope import Scope

CASES = [
    # VR, key, values that match, values that do not
    (b"SH", "A1", ["A1", "A1 ", " A1"], ["A2", "a1", "", "A11"]),
    (b"LO", "HEAD*", ["HEAD", "HEAD CT"], ["CT HEAD"]),
    (b"LO", "H?AD", ["HEAD", "HXAD"], ["HAD"]),
    (b"LO", "a.c", ["a.c"], ["abc"]),
    (b"LO", "one\\two", ["two", "zero\\one"], ["three"]),
    (b"PN", "doe^jane", ["Doe^Jane", "DOE^JANE^^", "Doe^Jane=X^Y", "X^Y=Doe^Jane"], ["Doe^John", "Doe^Jane^Z"]),
    (b"PN", "doe*", ["Doe^Jane", "X=DOE"], ["A^Doe", "X=A^Doe"]),
    (b"PN", "a=b", ["A=B", "a=b^"], ["a", "b"]),
    (b"DA", "20200101", ["20200101", "2020.01.01"], ["20200102", ""]),
    (b"DA", "20200101-20201231", ["20200101", "20201231", "20200615"], ["20191231", "20210101", ""]),
    (b"DA", "20200101-", ["20200101", "20991231"], ["20191231"]),
    (b"DA", "-20200101", ["20200101", "19000101"], ["20200102", ""]),
    (b"TM", "10-11", ["100000", "113059.5"], ["095959", "120000"]),
    (b"TM", "1015", ["1015", "101500"], ["101530"]),
    (b"DT", "20200101120000-0500", ["20200101120000", "20200101120000-0500"], ["20200101120001"]),
    (b"DT", "2020-2021", ["20200101", "20211231235959"], ["2019", "2022"]),
    (b"IS", "1", ["1", "01", "+1"], ["10", ""]),
    (b"CS", "CT", ["CT", "SR\\CT"], ["MR"]),
    (b"CS", "CT\\MR", ["MR", "CT"], ["SR"]),
    (b"UI", "1.2.3", ["1.2.3", "1.2.3\0"], ["1.2.30", "1.2"]),
    (b"UI", "1.2.3\\1.2.4", ["1.2.4"], ["1.2.5"]),
    (b"US", "\x01\x00", ["\x01\x00"], ["\x02\x00", "\x00\x01"]),
    (b"SH", "A", ["A"], ["A=B", "B=A"]),
    (b"UI", "1.2.*", ["1.2.*"], ["1.2.3"]),
    (b"AS", "0?5Y", ["0?5Y"], ["035Y"]),
    (b"ST", "a\\b", ["a\\b"], ["a", "b"]),
    (b"IS", "x", ["x"], ["y", "1"]),
    (b"DA", "20200101-20200131", ["2020.01.31"], ["", " "]),
    (b"DT", "-20200101235959.5", ["20200101235959.5"], ["20200101235959.6"]),
    (b"DT", "20200101120000.123456-20200101130000.654321", ["20200101130000.654321"], ["20200101130000.654322"]),
    (b"DA", "-", ["20200101", ""], []),
    (b"SH", "-", ["-"], ["A1", ""]),
    (b"PN", "d*=x*", ["Doe=X", "DOE^J=xy"], ["Doe", "x"]),
    (b"PN", "?*", ["Doe", "=X"], ["", "="]),
]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Compile each key anew: a test kept from before would hide a change."""
    matching._test_of.cache_clear()


@pytest.mark.parametrize(("vr", "key", "good", "bad"), CASES, ids=[f"{vr.decode()} {key!r}" for vr, key, *_ in CASES])
def test_key_matches_what_the_standard_says(vr: bytes, key: str, good: list[str], bad: list[str]) -> None:
    wanted = Key(0x00081030, vr, key.encode("latin-1"))
    assert [value for value in good if not matches(wanted, value.encode("latin-1"))] == []
    assert [value for value in bad if matches(wanted, value.encode("latin-1"))] == []


@pytest.mark.parametrize("vr", ["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
def test_wild_cards_and_padding_of_a_text_count_whatever_its_vr(vr: str) -> None:
    key = Key(0x00081030, vr.encode(), b"A*B?")
    assert matches(key, b"AXXBX ")
    assert not matches(key, b"AXXB")
    several = vr not in ("LT", "ST", "UR", "UT")
    assert matches(key, b"X\\ABX") is several, "values of their own"


@pytest.mark.parametrize("vr", ["DS", "IS"])
def test_numbers_are_compared_as_such(vr: str) -> None:
    key = Key(0x00081030, vr.encode(), b"1")
    assert matches(key, b"2\\+1 ")
    assert not matches(key, b"10")


@pytest.mark.parametrize("vr", ["AS", "UI"])
def test_padding_of_other_text_is_no_part_of_it(vr: str) -> None:
    assert matches(Key(0x00081030, vr.encode(), b"030Y"), b"030Y\0")
    assert not matches(Key(0x00081030, vr.encode(), b"0*Y"), b"030Y")


@pytest.mark.parametrize(("vr", "span"), [("DA", b"2020-2021"), ("TM", b"10-11"), ("DT", b"2020-2021")])
def test_range_includes_its_ends_as_far_as_they_are_given(vr: str, span: bytes) -> None:
    first, _, last = span.partition(b"-")
    key = Key(0x00081030, vr.encode(), span)
    assert all(matches(key, value) for value in (first, first + b"0000", last, last + b"5959"))
    assert not matches(key, b"22"), "beyond its end"


def test_patient_id_is_compared_literally() -> None:
    key = Key(0x00100020, b"LO", b"P*")
    assert matches(key, b"P* ")
    assert not matches(key, b"P1")


def test_texts_are_compared_in_their_character_sets() -> None:
    key, terms, own = Key(0x00100010, b"PN", "M\u00fcller".encode("latin-1")), ("ISO_IR 192",), ("ISO_IR 100",)
    assert matches(key, "M\u00fcller".encode(), terms, own)
    assert not matches(key, "M\u00f6ller".encode(), terms, own)


@pytest.mark.parametrize("value", ["", "*", "**", " ", "*\\*"])
def test_universal_key_matches_everything(value: str) -> None:
    key = Key(0x00080050, b"SH", value.encode())
    assert is_universal(key)
    assert matches(key, b"")


@given(st.binary(max_size=30), st.sampled_from((b"LO", b"PN", b"DA", b"TM", b"DT", b"IS", b"UI", b"CS", b"SH")))
def test_value_matches_itself(value: bytes, vr: bytes) -> None:
    key = Key(0x00081030, vr, value)
    assert is_universal(key) or b"-" in value or b"\\" in value or matches(key, key.value)


def identifier(*keys: str) -> Scope:
    return Scope(make_identifier(keys), "STUDY")


def test_keys_belong_to_their_levels() -> None:
    scope = identifier(
        "QueryRetrieveLevel=SERIES", "PatientID=P", "AccessionNumber=A", "Modality=CT", "InstanceNumber=1"
    )
    assert [hex(tag) for tag in scope.filters("STUDY", patient_root=False)] == ["0x80050", "0x100020"]
    assert [hex(tag) for tag in scope.filters("SERIES", patient_root=False)] == ["0x80060", "0x200013"]
    assert not scope.filters("IMAGE", patient_root=False)
    assert [hex(tag) for tag in scope.filters("STUDY", patient_root=True)] == ["0x80050"]


@pytest.mark.parametrize(
    ("keys", "exact"),
    [
        (["StudyInstanceUID=1.2.3"], True),
        (["StudyInstanceUID=1.2.3\\1.2.4"], True),
        (["StudyInstanceUID=1.2.3", "PatientName"], False),  # an empty key selects nothing, but C-MOVE has none such
        (["StudyInstanceUID=1.2.3\\\\"], False),
        (["StudyInstanceUID=1.2.3", "SpecificCharacterSet=ISO_IR 100"], True),
        (["StudyInstanceUID=1.2.3", "AccessionNumber=A1"], False),
        (["StudyInstanceUID=1.2.3", "PatientID=P1"], False),
        (["StudyInstanceUID=1.2.*"], False),
        (["AccessionNumber=A1"], False),
    ],
)
def test_request_of_unique_keys_alone_is_exact(keys: list[str], *, exact: bool) -> None:
    assert identifier("QueryRetrieveLevel=STUDY", *keys).is_exact is exact


def test_group_length_selects_nothing() -> None:
    scope = identifier("QueryRetrieveLevel=STUDY", "0008,0000=4", "AccessionNumber=A")
    assert list(scope.filters("STUDY", patient_root=False)) == [0x00080050]


@pytest.mark.parametrize(
    "keys",
    [
        ["AccessionNumber=A1"],
        ["QueryRetrieveLevel=PATIENT", "PatientID=P"],
        ["QueryRetrieveLevel=STUDY", "PatientID=P\\Q"],
        ["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2"],
        ["QueryRetrieveLevel=IMAGE", "SeriesInstanceUID=1.2"],
    ],
)
def test_request_that_names_nothing_is_refused(keys: list[str]) -> None:
    with pytest.raises(UsageError):
        identifier(*keys).check()


def sequence(*items: tuple[Key, ...]) -> Key:
    return Key(0x00400275, b"SQ", items=items)


def encoded(*keys: Key) -> bytes:
    """Return the value field of a sequence of one item with these keys."""
    from movescu.dataset.values import elements
    from movescu.query.identifier import Identifier

    ((_, _, value),) = elements(Identifier([sequence(keys)]).encode(EXPLICIT_LITTLE))
    return bytes(value)


def test_sequence_matches_if_an_item_matches_all_of_its_keys() -> None:
    first, second = Key(0x00400007, b"LO", b"HEAD*"), Key(0x00400009, b"SH", b"1")
    wanted = sequence((first, second))
    assert matches(wanted, encoded(Key(0x00400007, b"LO", b"HEAD CT"), Key(0x00400009, b"SH", b"1")))
    assert not matches(wanted, encoded(Key(0x00400007, b"LO", b"HEAD CT"), Key(0x00400009, b"SH", b"2")))
    assert not matches(wanted, encoded(Key(0x00400007, b"LO", b"HEAD CT")))
    assert not matches(wanted, b"")


@pytest.mark.parametrize(("value", "empty"), [(b"", True), (b"  ", True), (b"\0\0", True), (b"X", False)])
def test_value_of_padding_alone_is_empty(value: bytes, *, empty: bool) -> None:
    assert matching.is_empty(value) == empty


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("12", 12), ("+3", 3), (" 4 ", 4), ("0", 0), ("9" * 19, int("9" * 19)), ("9" * 20, None)),
        *((text, None) for text in ("", "-1", "1.5", "x", "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT TWO}")),
    ],
)
def test_number_of_entities_is_decimal_and_not_negative(text: str, number: int | None) -> None:
    assert number_of(text) == number


def test_sequence_of_empty_keys_matches_everything_and_a_nested_one_counts() -> None:
    empty, full = Key(0x00400007, b"LO"), Key(0x00400009, b"SH", b"1")
    assert is_universal(sequence((empty,)))
    assert matches(sequence((empty,)), b"")
    assert not is_universal(sequence((empty, full)))
    assert not is_universal(sequence((empty, sequence((full,)))))
    absent = sequence((Key(0x00400007, b"LO", b"*X"), full))
    assert not matches(absent, encoded(full)), "the item lacks the other attribute"


def test_literal_patient_id_with_a_backslash_is_one_value() -> None:
    key = Key(0x00100020, b"LO", b"P\\Q")
    assert matches(key, b"P\\Q")
    assert not matches(key, b"P")
    assert not matches(Key(0x00100020, b"LO", b"P"), b"P\\Q")
