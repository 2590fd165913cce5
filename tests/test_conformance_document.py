"""``docs/conformance.md`` says what the program does: who sets up an archive by it never sees the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from movescu._runtime import version
from movescu.cli.options.command_line import parse
from movescu.cli.options.configuration import config_of
from movescu.cli.options.table import NAMES
from movescu.dictionary.uids import APPLICATION_CONTEXT, VERIFICATION, storage_classes
from movescu.dimse import status as codes
from movescu.errors import DataSetError, DataSetMismatchError, StoreError
from movescu.services import store
from movescu.ul.negotiation import CALLED_AE_TITLE_NOT_RECOGNIZED, CALLING_AE_TITLE_NOT_RECOGNIZED

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
DEFAULTS = config_of(parse(["-k", "QueryRetrieveLevel=STUDY", "+P", "104", "archive", "104"]))


def generator() -> ModuleType:
    """The tool that makes the tables."""
    spec = importlib.util.spec_from_file_location("conformance_tables", ROOT / "tools" / "conformance_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(heading: str) -> str:
    """The text under a heading, up to the next one."""
    _, _, rest = TEXT.partition(f"# {heading}\n")
    assert rest, heading
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str) -> dict[str, str]:
    """The first two columns of the tables of a section."""
    lines = [line.strip("| ").split(" | ") for line in section(heading).splitlines() if line.startswith("| ")]
    return {line[0]: line[1] for line in lines if len(line) > 1}


def test_tables_are_those_of_the_program() -> None:
    assert generator().updated(TEXT) == TEXT, "run python tools/conformance_tables.py"


def test_table_that_has_lost_its_place_is_missed() -> None:
    with pytest.raises(ValueError, match="storage classes has 0 places"):
        generator().updated(TEXT.replace("begin: storage classes", ""))


def test_every_class_that_is_taken_stands_in_the_table_once() -> None:
    for uid in (*storage_classes(), VERIFICATION):
        assert len(re.findall(rf"[| (]{re.escape(uid)}[ |)]", section("3.3.1 SOP classes"))) == 1, uid


def test_policies_are_those_that_hold_without_options() -> None:
    policies = rows("3.2.2 Association policies")
    assert policies["application context"] == APPLICATION_CONTEXT
    assert policies["implementation class UID"] == version.CLASS_UID
    assert policies["implementation version name"] == version.VERSION_NAME
    assert DEFAULTS.receive is not None
    said: dict[str, tuple[str, Any]] = {
        "maximum length received, announced": ("3.2.2", DEFAULTS.request.maximum_length),
        "waiting for the connection": ("3.2.2", DEFAULTS.timeouts.connect),
        "waiting for the answer to the association request": ("3.2.2", DEFAULTS.timeouts.acse),
        "waiting for an object, or for another count in a response": ("3.2.2", DEFAULTS.timeouts.stall),
        "associations at a time": ("3.3.2", DEFAULTS.receive.maximum_associations),
        "silence within a message": ("3.3.2", DEFAULTS.timeouts.store),
    }
    for policy, (number, value) in said.items():
        words = rows(f"{number} Association policies")[policy]
        assert re.match(r"\d+", words), words
        assert int(words.split(";")[0].split()[0]) == value, policy
    assert DEFAULTS.timeouts.dimse is None
    assert policies["waiting for a response"] == "no limit; `--dimse-timeout`"


def test_range_of_pdus_is_the_options() -> None:
    [value] = NAMES["--max-pdu"].takes
    assert value.choices is not None
    words = rows("3.2.2 Association policies")["maximum length received, announced"]
    assert words.endswith(f"`--max-pdu`: {value.low} to {value.high}, or `auto`: {value.choices['auto']}")


def test_every_option_that_is_named_exists() -> None:
    named = set(re.findall(r"`([+-][^ `]+)`", TEXT))
    assert len(named) > 50
    assert named <= set(NAMES)


def test_statuses_of_c_store_are_those_that_can_be_sent() -> None:
    sent = {codes.SUCCESS, codes.SOP_CLASS_NOT_SUPPORTED, codes.INVALID_SOP_INSTANCE}
    errors = (StoreError("x"), DataSetError("x"), DataSetMismatchError("x"))
    sent |= {store._status(error) for error in errors}
    assert {int(code, 16) for code in rows("3.3.4 C-STORE") if re.fullmatch("[0-9A-F]{4}", code)} == sent


def test_rejections_are_those_of_the_code() -> None:
    text = section("3.3.3 Association acceptance")
    for rejection in (CALLING_AE_TITLE_NOT_RECOGNIZED, CALLED_AE_TITLE_NOT_RECOGNIZED):
        assert re.search(rf"\({rejection.result}\) .*\({rejection.source}\) .*\({rejection.reason}\)", text)


def test_documents_that_are_referred_to_exist() -> None:
    for name in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / name).exists(), name


def test_every_storage_class_has_the_name_that_messages_use() -> None:
    assert [uid for uid, entry in storage_classes().items() if not entry.keyword] == []
