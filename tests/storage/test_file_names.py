"""File names of received objects: equal to those of DCMTK, unique, and never outside the directory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary.uids import storage_classes
from movescu.storage.file_names import file_name

CT = "1.2.840.10008.5.1.4.1.1.2"


def test_file_has_the_name_that_dcmtk_gives_it() -> None:
    assert file_name(CT, "1.2.3.4") == "CT.1.2.3.4"
    assert file_name("1.2.840.10008.5.1.4.1.1.88.67", "1.2") == "SRd.1.2"


def test_storage_classes_have_the_prefix_of_their_kind() -> None:
    names = {uid: file_name(uid, "1.2") for uid in storage_classes()}
    assert not {uid: name for uid, name in names.items() if not name.endswith(".1.2") or name == "UNKNOWN.1.2"}


@pytest.mark.row("CVE-2022-2119")
@pytest.mark.row("23")
@pytest.mark.parametrize("uid", ["../../etc/passwd", "/etc/passwd", "..", "a\0b", "a\nb", "a\x1b[2J", "a b", "1/2"])
def test_uid_never_leads_out_of_the_directory_or_controls_a_terminal(uid: str) -> None:
    name = file_name(CT, uid)
    assert "/" not in name
    assert name.isprintable()
    assert name.startswith("CT.")


@pytest.mark.row("23")
@given(st.text(st.characters(max_codepoint=255), max_size=64), st.text(st.characters(max_codepoint=255), max_size=64))
def test_objects_never_share_a_file(one: str, other: str) -> None:
    assert (file_name(CT, one) == file_name(CT, other)) == (one == other)


@given(st.text(st.characters(max_codepoint=255), max_size=64))
def test_file_name_is_never_too_long_for_a_file_system(uid: str) -> None:
    assert len(file_name(CT, uid).encode()) <= 255
