"""What DCMTK's manual says of an option, where DCMTK's binary does something else or hides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from movescu.cli.docs.banner import version_text
from movescu.cli.options.command_line import parse
from movescu.cli.options.configuration import config_of, identifiers, storage_of
from movescu.cli.options.settings import CommandSettings
from movescu.dictionary.uids import DEFLATED_LITTLE, OTHER_TRANSFER_SYNTAXES
from movescu.errors import DirectoryNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from movescu.storage.options import StorageOptions

KEYS = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")


def settings(*options: str) -> CommandSettings:
    parsed = parse((*options, *KEYS, "host", "104"))
    assert isinstance(parsed, CommandSettings)
    return parsed


def storage(*options: str) -> StorageOptions:
    made = storage_of(settings("+P", "11112", *options))
    assert made is not None
    return made


def test_version_names_zlib_and_tcp_wrapper() -> None:
    assert "ZLIB, version " in version_text()
    assert "LIBWRAP" in version_text()


def test_uid_padding_silences_the_warning_of_blanks() -> None:
    assert storage("-up").forgive_blank_uids
    assert not storage().forgive_blank_uids


def test_ignore_needs_the_output_directory_all_the_same(tmp_path: Path) -> None:
    assert storage("--ignore", "-od", str(tmp_path)).ignore
    with pytest.raises(DirectoryNotFoundError):
        storage("--ignore", "-od", str(tmp_path / "missing"))


def test_compression_level_applies_to_a_deflated_identifier() -> None:
    options = ("-xd", "-k", "PatientID=" + "1234567890" * 6)
    best, worst = (identifiers(settings("+cl", level, *options))[0].encode(DEFLATED_LITTLE) for level in ("9", "0"))
    assert len(best) < len(worst)


def test_accept_nonstandard_accepts_unknown_transfer_syntaxes_last() -> None:
    receive = config_of(settings("+P", "11112", "+B", "--accept-nonstandard")).receive
    assert receive is not None
    assert receive.accepted[-1] is OTHER_TRANSFER_SYNTAXES
