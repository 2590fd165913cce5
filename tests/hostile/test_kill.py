"""SIGKILL amid an object: nothing has the name of an object that is not whole."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import scripted
from command import running
from setting import KEY, Setting

if TYPE_CHECKING:
    from invariants import Invariants


@pytest.mark.not_without("locks", "windows")  # temporary files of killed runs stay for a day then
@pytest.mark.row("37")
def test_process_that_is_killed_amid_an_object_leaves_a_temporary_file_at_most(
    setting: Setting, sandbox: Invariants
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            sender.go_on()
            command.signal(signal.SIGKILL)
            session.expect_end()

    with scripted.archive(script) as archive:
        arguments = ["-k", KEY, "+P", setting.port, "+B", *archive.address]
        with running(*arguments, folder=setting.received) as command:
            assert command.end().code == -signal.SIGKILL
    sandbox.check_files()
    assert list(setting.received.glob(".movescu-*"))
    setting.run_here(scripted_nothing)
    assert not list(setting.received.glob(".movescu-*"))
    setting.assert_arrived(setting.made[:1])


def scripted_nothing(session: scripted.Session) -> None:
    """An archive that has nothing: the run that cleans up."""
    session.accept()
    session.expect_move()
    session.respond(completed=0)
    session.expect_release()
