"""Who may store, and what guests cost: hosts, objects that nobody requested, associations and memory."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import corpus
import pytest
import scripted
from command import movescu
from setting import KEY, Setting
from wire import WAIT, read_pdu, request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from command import Outcome

GUEST = "127.0.0.7"
"""Another host than that of the archive."""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Objects to send, a port, and a folder."""
    return Setting(tmp_path)


def retrieve(setting: Setting, during: Callable[[], None], *options: object, prefix: Sequence[str] = ()) -> Outcome:
    """Run the command; ``during`` sends objects while its request is open."""

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        during()
        session.respond()
        session.expect_release()

    return setting.run(script, "--linger", 0, *options, prefix=prefix)


def connect(setting: Setting, host: str = GUEST) -> socket.socket:
    return socket.create_connection(("127.0.0.1", setting.port), WAIT, source_address=(host, 0))


ALLOWED = {
    "the address": (("127.0.0.1",), True),
    "its network": (("127.0.0.0/8",), True),
    "a name": (("localhost",), True),
    "one of several": (("10.1.2.3", "127.0.0.1"), True),
    "another": (("127.0.0.7",), False),
    "another network": (("10.0.0.0/8", "fd00::/8"), False),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_connection_of_a_host_that_is_not_named_is_closed_and_logged(setting: Setting, what: str) -> None:
    hosts, allowed = ALLOWED[what]
    answers: list[bytes] = []

    def during() -> None:
        with connect(setting, "127.0.0.1") as sock:
            try:
                sock.sendall(request().encode())
                answers.append(read_pdu(sock)[:1])
            except (OSError, EOFError, AssertionError):
                answers.append(b"")

    outcome = retrieve(setting, during, *(word for host in hosts for word in ("--accept-from", host)))
    assert bool(answers[0]) == allowed
    assert ("--accept-from does not name its host" in outcome.log) == (not allowed)


@pytest.mark.parametrize("host", ["10.0.0.0/99", "no-such-host.invalid"])
def test_host_that_is_none_is_a_mistake_of_the_command_line(setting: Setting, host: str) -> None:
    options = ("-k", KEY, "+P", setting.port, "--accept-from", host)
    outcome = movescu(*options, "127.0.0.1", 1, folder=setting.received, code=1)
    assert f"--accept-from '{host}'" in outcome.log


@pytest.mark.row("94")
@pytest.mark.parametrize("originator", [None, "OTHER"])
def test_object_that_no_request_named_is_refused_and_is_no_failure(
    setting: Setting, tmp_path: Path, originator: str | None
) -> None:
    (tmp_path / "else").mkdir()
    [strange] = corpus.make_study(tmp_path / "else", seed=7)
    study = setting.made[0].study_uid
    statuses: list[int] = []

    def during() -> None:
        with scripted.sender(setting.port, [strange]) as sender:
            statuses.append(sender.store(strange, originator))
        with scripted.sender(setting.port, setting.made) as sender:
            statuses.extend(sender.store(one, None) for one in setting.made)

    outcome = retrieve(setting, during, "--only-requested", "-k", f"StudyInstanceUID={study}")
    assert statuses == [0x0124, 0, 0, 0]
    assert "no running request named it" in outcome.log
    setting.assert_arrived(setting.made)


@pytest.mark.row("93")
def test_associations_that_sent_nothing_make_room_and_the_archives_stay(setting: Setting) -> None:
    def during() -> None:
        with ExitStack() as stack:
            archives = stack.enter_context(scripted.sender(setting.port, setting.made))  # from the archive's host
            idle = [stack.enter_context(connect(setting)) for _ in range(5)]
            for sock in idle:
                sock.sendall(request().encode())
                assert read_pdu(sock)[:1] == b"\x02"
            assert idle[0].recv(1) in (b"", b"\x07")  # the oldest made room for the others
            assert archives.store(setting.made[0]) == 0
            setting.send(setting.made[1:])

    outcome = retrieve(setting, during, "--max-associations", 4)
    assert "it sent nothing, and another needs its place" in outcome.log
    setting.assert_arrived(setting.made)


@pytest.mark.row("95")
def test_run_without_descriptors_for_a_moment_goes_on_accepting(setting: Setting) -> None:
    def during() -> None:
        with ExitStack() as stack:
            for _ in range(120):
                stack.enter_context(connect(setting))
        setting.send(setting.made)

    retrieve(setting, during, "--max-associations", 4, prefix=["prlimit", "--nofile=64", "--"])
    setting.assert_arrived(setting.made)
