"""Answers to C-FIND: one that contradicts a key is dropped, and a key that an archive ignores is an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, STUDY_ROOT_FIND, TransferSyntax
from movescu.dimse.status import PENDING, PENDING_WARNING, SUCCESS
from movescu.errors import IgnoredKeyError, InventoryError, NoPresentationContextError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import UNIQUE_KEYS
from movescu.retrieve import answers as answers_module
from movescu.retrieve.answers import Answers, FindAnswer, Responses, names
from movescu.services.find import FindResponse
from movescu.testing.query import encode_identifier
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENT, STUDY, SERIES, IMAGE = UNIQUE_KEYS.values()
MODALITY, ACCESSION, NUMBER = 0x00080060, 0x00080050, 0x00201209
CT = {MODALITY: Key(MODALITY, b"CS", b"CT")}


def answer(values: Mapping[int, str], *, warned: bool = False, syntax: TransferSyntax = IMPLICIT_LITTLE) -> FindAnswer:
    encoded = {tag: value.encode() + b"\0" * (len(value) & 1) for tag, value in sorted(values.items())}
    return FindAnswer(encode_identifier(encoded, syntax), syntax, warned)


def series(named: str = "", filters: Mapping[int, Key] | None = None) -> Answers:
    return Answers("SERIES", {STUDY: "1.2", SERIES: named}, filters or {}, ("",))


@given(
    st.sampled_from(("", "1.2", "1.9")),
    st.sampled_from(("", "1.3", "1.3\\1.4", "1.*")),
    st.sampled_from(("", "1.3", "1.4", "1.3\\1.4", "1.?", "1" * 65)),
    st.sampled_from((None, "", "CT", "MR")),
    st.sampled_from((None, "CT")),
)
def test_answer_counts_only_if_it_names_one_entity_that_was_asked_for(
    study: str, asked: str, found: str, modality: str | None, wanted: str | None
) -> None:
    answers = series(asked, CT if wanted else None)
    values = {STUDY: study, SERIES: found, NUMBER: "7"}
    match = answers.take(answer(values if modality is None else values | {MODALITY: modality}))
    usable = found in ("1.3", "1.4")
    good = study in ("", "1.2") and found in {"": ("1.3", "1.4"), "1.3": ("1.3",)}.get(asked, ("1.3", "1.4"))
    good &= asked != "1.*"  # patterns are matched by others
    good &= wanted is None or modality == "CT"
    assert (match is not None) is (usable and good)
    if match is not None:
        assert match == {STUDY: study, SERIES: found, NUMBER: "7"}
    assert answers.doubts.dropped == (usable and not good)
    silent = wanted is not None and modality in (None, "")
    if silent:
        with pytest.raises(IgnoredKeyError, match="ignores Modality at level SERIES"):
            answers.doubts.end()
    elif not usable:
        with pytest.raises(InventoryError, match="1 answer to C-FIND at level SERIES has no usable SeriesInstanceUID"):
            answers.doubts.end()
    else:
        answers.doubts.end()


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
@pytest.mark.parametrize(("procedure", "others"), [("HEAD", CT), ("HEAD", {}), ("NECK", CT), ("NECK", {})])
def test_item_of_a_sequence_is_compared_in_each_transfer_syntax(
    syntax: TransferSyntax, procedure: str, others: dict[int, Key]
) -> None:
    sequence, name = 0x00400275, 0x00400007
    wanted = Key(sequence, b"SQ", items=[[Key(name, b"LO", b"HEAD")]])
    answers = Answers("SERIES", {STUDY: "1.2"}, others | {sequence: wanted}, ("",))
    said = [Key(MODALITY, b"CS", b"CT"), Key(STUDY, b"UI", b"1.2"), Key(SERIES, b"UI", b"1.3")]
    said.append(Key(sequence, b"SQ", items=[[Key(name, b"LO", procedure.encode())]]))
    match = answers.take(FindAnswer(Identifier(said).encode(syntax), syntax, warned=False))
    assert match == ({STUDY: "1.2", SERIES: "1.3"} if procedure == "HEAD" else None)


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_answer_is_read_in_each_transfer_syntax(syntax: TransferSyntax) -> None:
    match = series("1.3").take(answer({STUDY: "1.2", SERIES: "1.3", NUMBER: "12"}, syntax=syntax))
    assert match == {STUDY: "1.2", SERIES: "1.3", NUMBER: "12"}


def test_answer_that_cannot_be_read_leaves_the_matches_unknown() -> None:
    answers = series()
    whole = answer({STUDY: "1.2", SERIES: "1.3"})
    assert answers.take(whole) is not None
    assert answers.take(whole._replace(data=whole.data[:-1])) is None
    for data in (b"", whole.data[:5]):
        assert answers.take(whole._replace(data=data)) is None
    with pytest.raises(InventoryError, match="3 answers to C-FIND at level SERIES have no usable SeriesInstanceUID"):
        answers.doubts.end()


@pytest.mark.parametrize(
    ("modalities", "warned", "ignored"),
    [
        (["CT", ""], False, False),
        (["", ""], False, True),
        (["CT", ""], True, True),
        (["CT", "CT"], True, False),
        ([], False, False),
    ],
)
def test_key_is_ignored_if_no_answer_has_a_value_or_one_without_it_comes_with_a_warning(
    modalities: list[str], *, warned: bool, ignored: bool
) -> None:
    answers = series(filters=CT)
    for number, value in enumerate(modalities):
        match = answers.take(answer({STUDY: "1.2", SERIES: f"1.3.{number}", MODALITY: value}, warned=warned))
        assert (match is not None) is bool(value), "an absent value matches no key"
    if not ignored:
        answers.doubts.end()
        return
    with pytest.raises(IgnoredKeyError) as raised:
        answers.doubts.end()
    assert raised.value.tags == {MODALITY}


@pytest.mark.parametrize(("dropped", "last"), [(5, "1.4.4"), (7, "1.4.4 ... and 2 more")])
def test_dropped_answers_are_named_in_one_warning(caplog: pytest.LogCaptureFixture, dropped: int, last: str) -> None:
    answers = series("1.3", CT)
    with caplog.at_level(logging.WARNING):
        for number in range(dropped):
            answers.take(answer({STUDY: "1.2", SERIES: f"1.4.{number}", MODALITY: "MR"}))
        answers.doubts.end()
    [warning] = caplog.messages
    words = "answers to C-FIND at level SERIES that contradict SeriesInstanceUID and Modality: 1.4.0, "
    assert warning.startswith(f"dropped {dropped} {words}")
    assert warning.endswith(last)


def test_patient_is_compared_as_a_whole_and_patterns_of_a_unique_key_need_a_value() -> None:
    answers = Answers("PATIENT", {PATIENT: "A\\B"}, {}, ("",))
    assert answers.take(answer({PATIENT: "A\\B"})) is None, "a backslash would name a list"
    assert Answers("PATIENT", {PATIENT: "A"}, {}, ("",)).take(answer({PATIENT: "A"})) == {PATIENT: "A"}
    assert Answers("PATIENT", {PATIENT: "A"}, {}, ("",)).take(answer({PATIENT: "B"})) is None
    assert Answers("PATIENT", {PATIENT: ""}, {}, ("",)).take(answer({PATIENT: "A*"})) == {PATIENT: "A*"}
    nobody = Answers("PATIENT", {PATIENT: ""}, {}, ("",))
    assert nobody.take(answer({PATIENT: ""})) is None
    with pytest.raises(InventoryError, match="no usable PatientID"):
        nobody.doubts.end()
    for pattern in ("1.*", "1.?", "1.3\\1.*"):
        images = Answers("IMAGE", {STUDY: "1.2", SERIES: pattern, IMAGE: ""}, {}, ("",))
        assert images.take(answer({STUDY: "1.2", IMAGE: "1.4"})) is None
        assert images.doubts.dropped == 1
    assert Answers("IMAGE", {SERIES: "1.3", IMAGE: ""}, {}, ("",)).take(answer({IMAGE: "1.4"})) is not None


class Session:
    """An association on which a query has these responses."""

    def __init__(self, *statuses: int, comment: str = "", offered: bool = True) -> None:
        self._statuses, self._comment, self._offered = statuses, comment, offered

    def find(self, sop_class: str, _: Identifier) -> Iterator[tuple[FindResponse, Context]]:
        """Answer a query."""
        if not self._offered:
            raise NoPresentationContextError("no context for C-FIND")
        for status in self._statuses:
            data = b"data" if status in (PENDING, PENDING_WARNING) else b""
            yield FindResponse(1, status, data, self._comment), Context(1, sop_class, IMPLICIT_LITTLE)


def responses(session: Session) -> Responses:
    return Responses(session, STUDY_ROOT_FIND, Identifier(()))  # type: ignore[arg-type] # stands in for it


def test_pending_responses_are_answers_and_the_final_one_decides_whether_they_are_all() -> None:
    some = responses(Session(PENDING, PENDING_WARNING, PENDING, SUCCESS))
    assert [(one.data, one.warned) for one in some] == [(b"data", False), (b"data", True), (b"data", False)]
    assert some.number == 3
    some.check("STUDY")


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00, 0x0122, 0xB000])
def test_query_with_another_final_status_than_success_is_an_error(status: int) -> None:
    some = responses(Session(PENDING, status, comment="too many"))
    assert len(list(some)) == 1
    with pytest.raises(InventoryError, match=rf"level SERIES with status 0x{status:04x} .*: too many\) after 1 answer"):
        some.check("SERIES")


def test_answer_without_a_data_set_is_one_that_names_nothing() -> None:
    session = Session(SUCCESS)
    some = responses(session)
    context = Context(1, STUDY_ROOT_FIND, IMPLICIT_LITTLE)
    some._responses = iter([(FindResponse(1, PENDING), context), (FindResponse(1, SUCCESS), context)])
    assert [one.data for one in some] == [b""]
    assert some.number == 1


def test_query_without_a_context_or_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InventoryError, match="no context"):
        list(responses(Session(offered=False)))
    monkeypatch.setattr(answers_module, "MAXIMUM", 3)
    assert len(list(responses(Session(*[PENDING] * 3, SUCCESS)))) == 3
    with pytest.raises(InventoryError, match="more than 3 answers"):
        list(responses(Session(*[PENDING] * 4, SUCCESS)))


def test_values_are_compared_in_the_character_sets_of_key_and_answer() -> None:
    name, character_set = 0x00100010, 0x00080005
    key = Key(name, b"PN", "M\u00fcller*".encode("latin-1"))
    for value, terms, found in (
        ("M\u00fcller^A".encode("latin-1"), "ISO_IR 100", True),
        ("M\u00fcller^A".encode(), "ISO_IR 192", True),
        (b"Miller^A", "ISO_IR 192", False),
    ):
        answers = Answers("STUDY", {STUDY: ""}, {name: key}, ("ISO_IR 100",))
        values = {character_set: terms.encode(), name: value + b" " * (len(value) & 1), STUDY: b"1.2\0"}
        data = encode_identifier(values, IMPLICIT_LITTLE)
        assert (answers.take(FindAnswer(data, IMPLICIT_LITTLE, warned=False)) is not None) is found


def test_keys_are_named_as_in_a_sentence() -> None:
    assert names([MODALITY]) == "Modality"
    assert names([ACCESSION, STUDY, MODALITY]) == "AccessionNumber, StudyInstanceUID and Modality"
