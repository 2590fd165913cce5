"""Commands for complete studies and series: which of them run, how often, and what is remembered of each."""

from __future__ import annotations

import shlex
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from movescu.cohort import hooks as hooks_module
from movescu.cohort.command_template import CommandTemplate, parse_command
from movescu.cohort.hook_journal import FAILED, SUCCEEDED, WAITING, HookJournal, HookKey, digest_of
from movescu.cohort.hooks import Hooks, check_levels
from movescu.errors import StoreError, UsageError
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.query.selection import Selection
from movescu.retrieve.catalogue import Place
from movescu.retrieve.parts import ListedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from movescu.query.identifier import Identifier

ARCHIVE = "ARCHIVE@host:104"


def identifier(study: str = "1.2", level: str = "STUDY") -> Identifier:
    series = ["SeriesInstanceUID=1.3"] if level == "SERIES" else []
    return make_identifier([f"QueryRetrieveLevel={level}", f"StudyInstanceUID={study}", *series], model="STUDY")


def row(number: int = 1, study: str = "1.2") -> Row:
    return Row(number, "", identifier(study))


def request(*uids: str, study: str = "1.2", complete: bool = True, listed: bool = True) -> ListedRequest:
    objects = {uid: Place("P", study, f"{study}.{number}") for number, uid in enumerate(uids)}
    return ListedRequest(identifier(study), complete, objects if listed else None)


def shell(text: str, option: str = "--on-study", level: str = "STUDY") -> CommandTemplate:
    return parse_command(option, level, f"sh -c {shlex.quote(text)}")


def log(folder: Path) -> list[str]:
    file = folder / "log"
    return sorted(file.read_text().splitlines()) if file.exists() else []


def writes(folder: Path, text: str = "{study_uid}", **of: str) -> CommandTemplate:
    return shell(f"echo {text} >> {shlex.quote(str(folder / 'log'))}", **of)


@contextmanager
def running(folder: Path, *commands: CommandTemplate, **options: Any) -> Iterator[Hooks]:
    """Run commands of requests that are entered within, and wait for their ends."""
    with HookJournal(str(folder)) as journal:
        with Hooks(commands, journal, lambda uid: str(folder / uid), archive=ARCHIVE, **options) as hooks:
            yield hooks
            hooks.finish()
        assert not hooks.busy


# -- which commands run ------------------------------------------------------------------------------------------------


def test_command_runs_for_what_is_proven_complete_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(
        tmp_path, writes(tmp_path), writes(tmp_path, "{series_uid}", option="--on-series", level="SERIES")
    ) as hooks:
        hooks.enter([request("3", study="1.4", complete=False), request("1", "2")], row())
        hooks.enter([request("4", study="1.5", listed=False), request("6", study="1.8")], row(2, "1.5"))
        hooks.enter([request("5", study="1.6")])
    assert log(tmp_path) == ["1.2", "1.2.0", "1.2.1", "1.6", "1.6.0", "1.8", "1.8.0"]
    assert (hooks.failed, hooks.unproven) == (0, 1)
    [error] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("entry 2: --on-study and --on-series not run: the archive does not offer C-FIND")


def test_study_that_two_entries_prove_complete_has_its_command_once(tmp_path: Path) -> None:
    with running(tmp_path, writes(tmp_path)) as hooks:
        for number in (1, 2):
            hooks.enter([request("1", "2")], row(number, f"1.2\\{number}"))
        while not hooks.is_settled(row(2, "1.2\\2"), gone=False):
            pass
        hooks.enter([request("1", "2")], row(4, "1.2\\4"))
        hooks.enter([request("1")], row(3, "1.2\\3"))
        hooks.finish()
        assert all(hooks.is_settled(row(number, f"1.2\\{number}"), gone=False) for number in (1, 2, 3, 4))
    assert log(tmp_path) == ["1.2"] * 2, "fewer objects are another set of them"


def test_command_runs_again_for_another_entry_if_files_were_stored_since_it_began(tmp_path: Path) -> None:
    stored = {"1"}

    def before(uids: Sequence[str]) -> Any:  # what is called once the command has succeeded
        stored.difference_update(uids)
        return lambda: None

    with running(tmp_path, writes(tmp_path), is_new=stored.__contains__, before=before) as hooks:
        for number in (1, 2, 3):
            if number == 3:  # the command has moved the files of the first entry, say
                stored.add("1")
            hooks.enter([request("1")], row(number, f"1.2\\{number}"))
            while not hooks.is_settled(row(number, f"1.2\\{number}"), gone=False):
                pass
    assert log(tmp_path) == ["1.2"] * 2


def test_command_that_succeeded_runs_again_without_resume_or_for_new_files(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({}, 2),
        ({"resume": True}, 2),
        ({"resume": True, "is_new": {"2"}.__contains__}, 3),
        ({"resume": True, "is_new": {"3"}.__contains__}, 3),
    ]
    for number, (options, runs) in enumerate(cases):
        with running(tmp_path, writes(tmp_path), **options) as hooks:
            hooks.enter([request("1", "2")], row(number))
        assert len(log(tmp_path)) == runs


def test_command_that_failed_runs_again_with_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = shell(f"echo why; test -e {shlex.quote(str(tmp_path / 'good'))} || exit 3")
    with running(tmp_path, command) as hooks:
        hooks.enter([request("1")], row())
        hooks.finish()
        assert hooks.has_entered(row())
        assert not hooks.is_settled(row(), gone=False)
        assert not hooks.has_entered(row(2, "1.4"))
    assert hooks.failed == 1
    assert "--on-study for study 1.2 failed: exit status 3; why" in caplog.messages
    (tmp_path / "good").touch()
    with running(tmp_path, command, resume=True) as hooks:
        hooks.enter([request("1")], row())
        hooks.finish()
        assert hooks.is_settled(row(), gone=False)
    assert hooks.failed == 0


def test_entry_whose_files_are_gone_is_not_settled_from_then_on(tmp_path: Path) -> None:
    with running(tmp_path, writes(tmp_path)) as hooks:
        hooks.enter([request("1")], row())
        hooks.finish()
        assert hooks.is_settled(row(), gone=False)
        assert not hooks.is_settled(row(), gone=True)
        assert not hooks.is_settled(row(), gone=False), "or nothing would run once they are here again"
    with running(tmp_path, writes(tmp_path), resume=True) as hooks:
        hooks.enter([request("1")], row())
    assert log(tmp_path) == ["1.2"] * 2


def test_entry_of_another_selection_or_archive_is_another(tmp_path: Path) -> None:
    with running(tmp_path, writes(tmp_path), selection=Selection(only=("Modality=CT",))) as hooks:
        hooks.enter([request("1")], row())
        hooks.finish()
        assert hooks.is_settled(row(), gone=False)
        assert hooks.has_entered(row())
    with running(tmp_path, writes(tmp_path)) as hooks:
        assert not hooks.is_settled(row(), gone=False)
        assert not hooks.has_entered(row())


# -- how they run ------------------------------------------------------------------------------------------------------


def test_command_is_told_its_objects_before_and_has_effect_after_it_succeeded(tmp_path: Path) -> None:
    told: list[object] = []

    def before(uids: Sequence[str]) -> Any:
        told.append(tuple(uids))
        return lambda: told.append("after")

    with running(tmp_path, shell("exit {count}"), before=before) as hooks:
        hooks.enter([request("1", "2")], row())
    assert told == [("1", "2")]
    with running(tmp_path, shell("test {count} = 2"), before=before) as hooks:
        hooks.enter([request("1", "2")], row())
    assert told == [("1", "2")] * 2 + ["after"]


def test_command_that_cannot_be_run_has_failed_and_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = CommandTemplate("--on-study", "STUDY", "gone", (str(tmp_path / "gone"),))
    with running(tmp_path, gone, writes(tmp_path)) as hooks:
        hooks.enter([request("1")], row())
    assert hooks.failed == 1
    assert log(tmp_path) == ["1.2"]
    assert any("cannot run" in text and "No such file" in text for text in caplog.messages)
    with HookJournal(str(tmp_path)) as journal:
        key = HookKey(gone.digest, "1.2", digest_of(["1"]))
        assert journal._outcome(key) == FAILED


def test_failure_of_the_store_fails_one_command_and_any_other_ends_the_run(tmp_path: Path) -> None:
    def before(uids: Sequence[str]) -> Any:
        if uids[0] == "1":
            raise StoreError("no space")
        if uids[0] == "2":
            raise ZeroDivisionError
        return lambda: None

    with running(tmp_path, writes(tmp_path), before=before) as hooks:
        hooks.enter([request("1")], row(1))
        hooks.enter([request("3", study="1.4")], row(2))
    assert (hooks.failed, log(tmp_path)) == (1, ["1.4"])
    with pytest.raises(ZeroDivisionError), running(tmp_path, writes(tmp_path), before=before) as hooks:  # noqa: PT012 - finish() raises it
        hooks.enter([request("2")], row(3))
        hooks.enter([request("3", study="1.5")], row(4, "1.5"))
    assert log(tmp_path) == ["1.4"]


def test_cancelled_command_is_ended_and_is_waiting_and_no_other_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()
    command = shell("exec sleep 600")

    def before(_: Sequence[str]) -> Any:
        begun.set()
        return lambda: None

    with running(tmp_path, command, before=before) as hooks:
        for number in range(3):
            hooks.enter([request("1", study=f"1.{number}")], row(number, f"1.{number}"))
        assert begun.wait(30)
        hooks.cancel()
        hooks.finish()
        assert hooks.busy, "two are waiting"
        assert not any(hooks.is_settled(row(number, f"1.{number}"), gone=False) for number in range(3))
        hooks._waiting.clear()
    assert hooks.failed == 0
    assert "--on-study for study 1.0: ended; continue with --resume" in caplog.messages
    assert "2 commands were not run; continue with --resume" in caplog.messages
    with HookJournal(str(tmp_path)) as journal:
        assert journal._outcome(HookKey(command.digest, "1.0", digest_of(["1"]))) == WAITING


def test_command_that_runs_when_an_error_leaves_the_block_is_ended(tmp_path: Path) -> None:
    begun = threading.Event()

    def before(_: Sequence[str]) -> Any:
        begun.set()
        return lambda: None

    with pytest.raises(ZeroDivisionError), running(tmp_path, shell("exec sleep 600"), before=before) as hooks:  # noqa: PT012
        hooks.enter([request("1")], row())
        assert begun.wait(30)
        assert hooks.busy
        raise ZeroDivisionError
    assert not hooks.busy
    assert hooks._working == 0


@pytest.mark.not_without("signals", "windows")  # which end processes without a signal
def test_command_that_succeeds_when_it_is_ended_has_succeeded(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = shell(f"trap 'exit 0' TERM; touch {shlex.quote(str(ready))}; while true; do sleep 0.01; done")
    with running(tmp_path, command) as hooks:
        hooks.enter([request("1")], row())
        while not ready.exists():
            pass
        hooks.cancel()
        hooks.finish()
        assert hooks.is_settled(row(), gone=False)


def test_entry_that_waits_for_room_is_let_go_when_the_run_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_module, "_WAITING", 1)
    begun = threading.Event()

    def before(_: Sequence[str]) -> Any:
        begun.set()
        return lambda: None

    with running(tmp_path, shell("exec sleep 600"), before=before) as hooks:
        hooks.enter([request("1", study="1.0")], row(0, "1.0"))
        assert begun.wait(30)
        hooks.enter([request("1", study="1.1")], row(1, "1.1"))
        waiting = threading.Thread(target=hooks.enter, args=([request("1", study="1.2")], row(2, "1.2")), daemon=True)
        waiting.start()
        hooks.cancel()
        waiting.join(30)
        assert not waiting.is_alive()
        hooks.finish()
        assert len(hooks._waiting) == 1
        hooks._waiting.clear()


@pytest.mark.parametrize(("text", "words"), [("exit 1", "exit status 1"), ("kill -9 $$", "killed by signal 9")])
def test_failure_of_a_command_says_how_it_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    with running(tmp_path, shell(text)) as hooks:
        hooks.enter([request("1")], row())
    assert f"--on-study for study 1.2 failed: {words}" in caplog.messages


@pytest.mark.parametrize("jobs", [1, 2])
def test_so_many_commands_run_side_by_side(tmp_path: Path, jobs: int) -> None:
    """Each but the last waits until another one runs, if there may be two; else each runs alone."""
    one, lock = shlex.quote(str(tmp_path / "one")), shlex.quote(str(tmp_path / "lock"))
    together = f"mkfifo {one} 2>/dev/null; if [ {{study_uid}} = 1.0 ]; then cat {one}; else echo > {one}; fi"
    alone = f"mkdir {lock} && rmdir {lock}"
    with running(tmp_path, shell(together if jobs == 2 else alone), jobs=jobs) as hooks:
        for number in range(2 if jobs == 2 else 4):
            hooks.enter([request("1", study=f"1.{number}")], row(number, f"1.{number}"))
    assert hooks.failed == 0


def test_full_queue_loses_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "_WAITING", 1)
    with running(tmp_path, writes(tmp_path)) as hooks:
        for number in range(5):
            hooks.enter([request("1", study=f"1.{number}")], row(number, f"1.{number}"))
    assert log(tmp_path) == [f"1.{number}" for number in range(5)]


def test_commands_are_refused_for_requests_that_prove_nothing() -> None:
    study, series = shell("true"), shell("true", option="--on-series", level="SERIES")
    check_levels([study, series], [identifier()])
    check_levels([series], [identifier(level="SERIES")])
    with pytest.raises(UsageError, match="--on-study not allowed with requests at level SERIES") as raised:
        check_levels([series, study], [identifier(), identifier(level="SERIES")])
    assert raised.value.hint == "give QueryRetrieveLevel=PATIENT or STUDY, or use --on-series"


# -- their journal -----------------------------------------------------------------------------------------------------

KEYS = [HookKey("command", f"1.{number}", digest_of([str(number)])) for number in range(3)]


def test_outcome_of_a_command_holds_in_every_entry(tmp_path: Path) -> None:
    with HookJournal(str(tmp_path)) as journal:
        assert journal.enter("one", KEYS[:2], []) == KEYS[:2]
        assert journal.enter("two", KEYS[1:], [KEYS[1]]) == [KEYS[2]], "settled before, or about to run"
        for key, outcome in zip(KEYS, (SUCCEEDED, SUCCEEDED, FAILED), strict=True):
            journal.settle(key, outcome)
        assert [journal.has_succeeded(key) for key in KEYS] == [True, True, False]
        assert [journal.is_settled(entry, ["command"]) for entry in ("one", "two", "three")] == [True, False, False]
        assert not journal.is_settled("one", ["command", "another"])
        assert not journal.has_entered("one", ["command", "another"])
    with HookJournal(str(tmp_path)) as journal:
        assert journal.is_settled("one", ["command"]), "for later runs, too"
        journal.reopen("two")
        assert [journal.has_succeeded(key) for key in KEYS] == [True, False, False]
        assert [journal.is_settled(entry, ["command"]) for entry in ("one", "two")] == [False, False]


def test_command_that_has_to_run_again_is_waiting_in_every_entry(tmp_path: Path) -> None:
    with HookJournal(str(tmp_path)) as journal:
        journal.enter("one", KEYS[:1], [])
        journal.settle(KEYS[0], SUCCEEDED)
        assert journal.enter("two", KEYS[:1], []) == KEYS[:1]
        assert not journal.is_settled("one", ["command"])
        assert not journal.has_succeeded(KEYS[0])


def test_entry_has_the_commands_that_were_entered_last(tmp_path: Path) -> None:
    with HookJournal(str(tmp_path)) as journal:
        journal.enter("one", KEYS[:2], [])
        journal.settle(KEYS[1], SUCCEEDED)
        assert not journal.is_settled("one", ["command"])
        journal.enter("one", KEYS[1:2], [KEYS[1]])
        assert journal.is_settled("one", ["command"]), "the archive has no study of the other any more"


def test_set_of_objects_has_one_digest_in_any_order() -> None:
    assert digest_of(["1", "2"]) == digest_of(["2", "1"])
    assert len({digest_of(uids) for uids in (["1"], ["1", "2"], ["12"], ["1\udcff"], [])}) == 5
