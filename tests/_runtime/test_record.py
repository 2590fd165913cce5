"""Classes of named fields: whoever constructs options or reads results meets them as he would meet dataclasses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from movescu._runtime.record import names_of, replace
from movescu.retrieve.config import AE
from movescu.ul.pdu import PresentationDataValue
from movescu.ul.user_information import UserIdentity, UserInformation

OPTIONS = AE("archive", 104, title="PACS")


def test_fields_are_given_by_place_or_by_name_and_have_defaults() -> None:
    assert AE(port=104, host="archive", title="PACS") == OPTIONS
    assert (OPTIONS.host, OPTIONS.title, AE("archive", 104).title) == ("archive", "PACS", "ANY-SCP")
    assert names_of(AE) == ("host", "port", "title")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"UserIdentity\(\) needs identity_type, primary_field"),
        ((1, b"", b"", True, 5), {}, "takes 4 fields, 5 were given"),
        ((1, b""), {"identity_type": 2}, "two values for 'identity_type'"),
        ((1, b""), {"colour": 2}, "no field 'colour'"),
    ],
)
def test_what_does_not_fit_is_an_error_of_the_caller(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        UserIdentity(*args, **kwargs)


def test_records_are_equal_by_kind_and_fields() -> None:
    assert UserIdentity(1, b"") == UserIdentity(1, b"")
    assert UserIdentity(1, b"") != UserIdentity(2, b"")
    assert UserIdentity(1, b"") != (1, b"", b"", False)
    assert len({UserIdentity(1, b""), UserIdentity(1, b""), UserIdentity(2, b"")}) == 2


def test_a_copy_with_other_values_leaves_the_first_as_it_is() -> None:
    other = replace(OPTIONS, port=11112)
    assert (other.port, other.title, OPTIONS.port) == (11112, "PACS", 104)
    for copied in (copy.copy(OPTIONS), copy.deepcopy(OPTIONS), pickle.loads(pickle.dumps(OPTIONS))):
        assert copied == OPTIONS


def test_a_record_does_not_change() -> None:
    with pytest.raises(AttributeError, match="port"):
        OPTIONS.port = 1  # type: ignore[misc] # what is tested
    with pytest.raises(AttributeError, match="port"):
        del OPTIONS.port
    assert OPTIONS.port == 104


def test_what_changes_cannot_be_a_key() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(PresentationDataValue(1, 0, b""))


def test_a_record_is_shown_without_what_is_secret() -> None:
    shown = repr(
        UserInformation(16384, user_identity=UserIdentity(2, b"name", b"word"), user_identity_response=b"word")
    )
    assert "UserIdentity(identity_type=2, positive_response_requested=False)" in shown
    assert "maximum_length=16384" in shown
    assert "word" not in shown


def test_record_pickles_copies_and_matches() -> None:
    record = UserIdentity(2, b"me")
    assert pickle.loads(pickle.dumps(record)) == record
    assert copy.deepcopy(record) == record
    match record:
        case UserIdentity(kind, name):
            assert (kind, name) == (2, b"me")
