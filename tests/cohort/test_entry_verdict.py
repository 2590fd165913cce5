"""What a later run believes of an entry: a complete one while its files are whole, and the verdict of another run."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import TYPE_CHECKING

import corpus
import pytest

from movescu.cohort.entry_verdict import CompleteEntry, told_of, verdict_of
from movescu.cohort.owner import Owner
from movescu.events import EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.causes import INTERRUPTED, NOT_STARTED
from movescu.storage.layout.template import parse_layout
from movescu.storage.ledger import StoredFile
from movescu.storage.options import StorageOptions
from movescu.storage.target import Target

if TYPE_CHECKING:
    from pathlib import Path

LONG_AFTER = 4e9
OWNER = Owner("host", 7, "")


class Entry:
    """A complete entry of two objects, whose files are in the output directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made = corpus.make_study(folder, instances=2, size=100)
        self.files = [StoredFile(one.instance_uid, one.path.name, one.path.stat().st_size) for one in self.made]
        self.study = self.made[0].study_uid

    def is_kept(self, *studies: str, ended: float = LONG_AFTER, files: list[StoredFile] | None = None) -> bool:
        options = StorageOptions(directory=str(self._folder), layout=parse_layout("study"))
        with closing(Target(options, indexed=True)) as target:
            return CompleteEntry(self.files if files is None else files, studies, ended).is_kept(target)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path)


def test_entry_is_complete_while_its_files_are_as_they_were(entry: Entry) -> None:
    assert entry.is_kept(entry.study)
    assert entry.is_kept()
    assert entry.is_kept("1.2"), "the archive had listed them in another study than they name"
    assert not entry.is_kept(files=[]), "nothing shows that an entry without objects is complete"


@pytest.mark.parametrize("studies", [(), ("1.2",)])
def test_entry_is_not_complete_without_one_of_its_files(entry: Entry, studies: tuple[str, ...]) -> None:
    entry.made[1].path.unlink()
    assert not entry.is_kept(*studies)


@pytest.mark.parametrize("how", ["later", "longer"])
def test_entry_with_a_file_that_was_replaced_is_complete_if_that_is_of_one_of_its_studies(
    entry: Entry, how: str
) -> None:
    ended = LONG_AFTER
    if how == "later":
        ended = 1.0
    else:
        entry.files[1] = entry.files[1]._replace(size=1)
    assert entry.is_kept(entry.study, ended=ended)
    assert entry.is_kept("1.2", entry.study, ended=ended)
    assert entry.is_kept(ended=ended), "the archive had listed no study"
    assert not entry.is_kept("1.2", "1.3", ended=ended)


def test_entry_with_a_file_that_was_cut_is_not_complete(entry: Entry) -> None:
    os.truncate(entry.made[0].path, 700)
    assert not entry.is_kept(entry.study)


@pytest.mark.parametrize(
    ("state", "event", "outcome", "already_there"),
    [
        (EntryState.COMPLETE, EntryState.COMPLETE_BEFORE, "complete", 5),
        (EntryState.COMPLETE_BEFORE, EntryState.COMPLETE_BEFORE, "complete", 5),
        (EntryState.PARTIAL, EntryState.PARTIAL, "partial", 5),
        (EntryState.FAILED, EntryState.FAILED, "failed", 0),
        (EntryState.NOT_FOUND, EntryState.NOT_FOUND, "not found", 0),
    ],
)
def test_verdict_of_another_run_is_that_of_ours(
    state: EntryState, event: EntryState, outcome: str, already_there: int
) -> None:
    why = json.dumps({"reason": "refused", "status": 0xA700, "reasons": ["STATUS"], "verifies": True, "newer": 1})
    verdict = verdict_of(state.value, OWNER, 5, why)
    assert verdict is not None
    assert (verdict.outcome, verdict.owner, verdict.reasons) == (outcome, OWNER, ("STATUS",))
    row = Row(3, "text", make_identifier(["StudyInstanceUID=1.2"]), (("Arm", "a"),), ("StudyInstanceUID=1.2",))
    told = verdict.event(row)
    assert (told.state, told.already_there, told.row, told.keys, told.columns) == (
        event, already_there, 3, row.keys, row.columns,
    )  # fmt: skip
    assert (told.reason, told.status, told.stored, told.missing) == ("refused", 0xA700, 0, 0)


@pytest.mark.parametrize("state", [EntryState.RUNNING.value, EntryState.POSTPONED.value, "of a newer version"])
def test_entry_that_has_not_ended_has_no_verdict(state: str) -> None:
    assert verdict_of(state, OWNER, 5, "") is None


@pytest.mark.parametrize("cause", [INTERRUPTED, NOT_STARTED])
def test_entry_that_was_interrupted_has_no_verdict(cause: object) -> None:
    code = getattr(cause, "code", "")
    assert verdict_of("failed", OWNER, 0, json.dumps({"reason": code})) is None
    assert verdict_of("failed", OWNER, 0, json.dumps({"reason": "refused"})) is not None


@pytest.mark.parametrize("why", ["", "{", "[]", "7", '["reason"]', '"reason"', '{"other": 1}'])
def test_reason_that_is_not_as_we_write_it_is_none(why: str) -> None:
    assert told_of(why) == {}
    verdict = verdict_of("failed", OWNER, 0, why)
    assert verdict is not None
    assert (verdict.why, verdict.reasons) == ({}, ())


def test_every_property_of_a_cause_is_taken_over() -> None:
    written = dict.fromkeys(("reason", "words", "fault", "passing", "advice", "status", "detail", "verifies"), 1)
    assert told_of(json.dumps(written | {"reasons": [], "other": 1})) == written | {"reasons": []}
