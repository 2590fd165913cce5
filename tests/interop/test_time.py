"""Nothing makes a retrieve wait for ever, and nothing makes it give up what still comes: every time-out, every signal.

Each peer that hangs, at each place where one can: the run ends in bounded time, by the exit code and the message that
fit, keeps every whole object and leaves nothing partial. A run that hangs fails by the patience of ``command``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import dcmtk, movescu, running
from pydicom.dataset import Dataset
from setting import KEY, Setting
from wire import black_hole, connecting

from movescu.dimse.status import CANCEL, SUB_OPERATIONS_WITH_FAILURES
from movescu.events import ResponseEvent
from movescu.testing import Archive, Faults
from movescu.transport.sockets import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Outcome, Running

    from movescu.transport.connection import Connection

PACE = 0.4  # seconds between the steps of a slow peer, where the limit is a second


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def pause(seconds: float = PACE) -> None:
    """Let time pass: what the tests that use it are about."""
    threading.Event().wait(seconds)


def pending_until(session: scripted.Session, connection: Connection) -> None:
    """Keep the archive's own association going until something comes in over another one."""
    while not connection.readable(PACE):
        session.pending()


def begin_retrieve(session: scripted.Session) -> None:
    session.accept()
    session.expect_move()


# -- no connection, no association -----------------------------------------------------------------------------------


@pytest.mark.row("49")
def test_host_that_does_not_answer_is_given_up_by_to(tmp_path: Path) -> None:
    with black_hole() as port:
        outcome = movescu("-k", KEY, "-to", 1, peers.HOST, port, folder=tmp_path, code=61)
    assert f"timed out: connecting to {peers.HOST} port {port}" in outcome.log


@pytest.mark.parametrize("option", ["-ta", "--total-timeout"])
def test_archive_that_answers_no_association_request_is_given_up(setting: Setting, option: str) -> None:
    def script(session: scripted.Session) -> None:
        session.read_request()
        session.expect_abort()

    outcome = setting.run(script, option, 1, code=61)
    assert "timed out: waiting for the answer to the association request" in outcome.log


@pytest.mark.parametrize("option", ["-ta", "--total-timeout"])
def test_archive_that_answers_no_release_request_is_given_up(setting: Setting, option: str) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        setting.send(setting.made)
        session.respond(completed=3)
        assert session.receive() is None  # the release request
        session.expect_abort()

    outcome = setting.run(script, option, 1, code=67)
    assert "timed out: waiting for the answer to the release request" in outcome.log
    setting.assert_arrived(setting.made)


@pytest.mark.row("13")
def test_connection_to_our_port_that_asks_for_nothing_is_ended_by_ta(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        silent = connect(peers.HOST, setting.port, scripted.PATIENCE)
        setting.send(setting.made)
        with contextlib.closing(silent):
            assert silent.receive_into(memoryview(bytearray(1)), scripted.soon()) == 0
        session.respond(completed=3)
        session.expect_release()

    setting.run(script, "-ta", 1)
    setting.assert_arrived(setting.made)


# -- silence where a response is due -----------------------------------------------------------------------------------


@pytest.mark.row("39")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("-td", "the archive has been silent for 1 s where a C-MOVE response is due"),
        ("--stall-timeout", "no object has arrived, and no count of the archive changed, for 1 s"),
        ("--total-timeout", "the time for the whole retrieve is over"),
    ],
)
def test_archive_that_falls_silent_is_aborted_though_its_storage_association_stays(
    setting: Setting, option: str, message: str
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            session.expect_abort()  # now, and not when the storage association has ended
            sender.expect_abort()

    outcome = setting.run(script, option, 1, code=62)
    assert f"timed out: {message}" in outcome.log
    setting.assert_arrived(setting.made[:1])


def trickle(setting: Setting, session: scripted.Session, *, associations: int = 1) -> None:
    """Take two seconds for the objects; say nothing until they are there."""
    begin_retrieve(session)
    with scripted.sender(setting.port, setting.made) as sender:
        sender.begin(setting.made[0])
        for _ in range(4):
            pause()
            sender.go_on()
        assert sender.complete() == 0
        if associations == 1:
            assert [sender.store(instance) for instance in setting.made[1:]] == [0, 0]
    if associations == 2:
        pause()
        setting.send(setting.made[1:])
        pause()
    session.respond(completed=3)
    session.expect_release()


@pytest.mark.parametrize("option", ["-td", "--stall-timeout", "--store-timeout"])
def test_archive_that_sends_objects_and_says_nothing_is_not_silent(setting: Setting, option: str) -> None:
    setting.run(lambda session: trickle(setting, session, associations=2), option, 1)
    setting.assert_arrived(setting.made)


def test_dcmtk_does_not_take_such_an_archive_for_silent_either(setting: Setting) -> None:
    with scripted.archive(lambda session: trickle(setting, session)) as archive:
        arguments = ["-k", KEY, "+P", setting.port, "-td", 1, *archive.address]
        outcome = dcmtk(*arguments, folder=setting.received)
    assert (outcome.code, len(outcome.files)) == (0, 3)


@pytest.mark.row("40")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--stall-timeout", "no object has arrived, and no count of the archive changed, for 1 s"),
        ("--total-timeout", "the time for the whole retrieve is over"),
    ],
)
def test_pending_responses_without_end_and_without_progress_are_given_up(
    setting: Setting, option: str, message: str
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        pending_until(session, session.connection)
        session.expect_abort()

    outcome = setting.run(script, "-td", 1, option, 1, code=62)
    assert f"timed out: {message}" in outcome.log


# -- silence on a storage association ----------------------------------------------------------------------------------

SILENCES: dict[str, Callable[[scripted.Sender, corpus.Instance], None]] = {
    "in a PDU": lambda sender, _: sender.send_bytes(b"\x04\x00\x00\x00\x10"),
    "in a command": lambda sender, _: sender.send_bytes(b"\x04\x00\x00\x00\x00\x08\x00\x00\x00\x04\x01\x01\x00\x00"),
    "in a data set": lambda sender, instance: sender.begin(instance),
}


@pytest.mark.row("14")
@pytest.mark.parametrize("option", ["-td", "--store-timeout"])
@pytest.mark.parametrize("silence", SILENCES)
def test_sender_that_stops_in_a_message_loses_its_association_and_no_other(
    setting: Setting, silence: str, option: str
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            SILENCES[silence](sender, setting.made[1])
            pending_until(session, sender.connection)
            sender.expect_abort()
        setting.send(setting.made[1:])
        session.respond(completed=3)
        session.expect_release()

    outcome = setting.run(script, option, 1)
    assert "the sender is silent in the middle of a message" in outcome.log
    setting.assert_arrived(setting.made)


def test_storage_association_that_idles_before_the_final_response_is_left_alone(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made) as sender:
            assert sender.store(setting.made[0]) == 0
            for _ in range(4):
                pause()
                session.pending()
            setting.send(setting.made[1:2])  # a second one while this idles
            assert sender.store(setting.made[2]) == 0
        session.respond(completed=3)
        session.expect_release()

    setting.run(script, "-td", 1, "--store-timeout", 1)
    setting.assert_arrived(setting.made)


@pytest.mark.parametrize(("counted", "code"), [(None, 0), (2, 0), (3, 63)])
def test_storage_association_that_idles_after_the_final_response_is_aborted(
    setting: Setting, counted: int | None, code: int
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            session.respond(completed=counted)
            assert sender.store(setting.made[1]) == 0
            if counted == 2:  # complete: the archive is released first
                session.expect_release()
            sender.expect_abort()
        if counted != 2:
            session.expect_release()

    outcome = setting.run(script, "--store-timeout", 1, "--linger", 1, code=code)
    assert outcome.log.count("ended after 1 s of silence") == (counted != 2)
    setting.assert_arrived(setting.made[:2])


@pytest.mark.parametrize("counted", [None, 1, 2])
def test_object_that_breaks_off_after_the_final_response_is_told_whatever_was_counted(
    setting: Setting, counted: int | None
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            session.respond(completed=counted)
            sender.expect_abort()
        session.expect_release()

    outcome = setting.run(script, "--store-timeout", 1, "--linger", 0, code=63)
    assert f"the transfer of SOP instance {setting.made[1].instance_uid} broke off" in outcome.log
    setting.assert_arrived(setting.made[:1])


def test_object_that_broke_off_and_came_again_is_not_missing(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            sender.begin(setting.made[0])
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()

    setting.run(script)
    setting.assert_arrived(setting.made)


# -- after the final response ------------------------------------------------------------------------------------------

LONG = ("--linger", 600, "--store-timeout", 600)  # a run that waited so long would be taken to hang


@pytest.mark.parametrize("counted", [None, 3])
def test_nothing_is_waited_for_where_nothing_is_missing_and_nothing_open(setting: Setting, counted: int | None) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        setting.send(setting.made)
        session.respond(completed=counted)
        session.expect_release()

    setting.run(script, *LONG)
    setting.assert_arrived(setting.made)


def test_linger_0_waits_for_nothing(setting: Setting) -> None:
    waited: list[float] = []

    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        setting.send(setting.made[:2])
        session.respond(completed=3)
        begun = time.monotonic()
        session.expect_release()
        waited.append(time.monotonic() - begun)

    setting.run(script, "--linger", 0, code=63)
    assert waited[0] < 10  # the default


def test_lingering_counts_from_the_last_sign_of_life_not_from_the_last_object(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        session.respond(completed=3)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            sender.begin(setting.made[0])
            for _ in range(3):
                pause(0.5)
                sender.go_on()
        pause(0.3)
        setting.send(setting.made)
        session.expect_release()

    with setting.retrieve(script, linger=1.2) as retrieve:
        result = retrieve.run()
    assert (result.missing, result.broken_off) == (0, ())
    setting.assert_arrived(setting.made)


def test_connection_that_stands_at_the_final_response_is_heard_where_the_archive_counts_nothing(
    setting: Setting,
) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        transport = connect(peers.HOST, setting.port, scripted.PATIENCE)
        setting.send(setting.made[:1])  # connections are taken in their order: the other one is known now
        session.respond()
        pause()
        with scripted.sender(setting.port, setting.made, transport=transport) as sender:
            assert [sender.store(instance) for instance in setting.made[1:]] == [0, 0]
        session.expect_release()

    setting.run(script)
    setting.assert_arrived(setting.made)


@pytest.mark.parametrize(("counted", "code"), [(None, 63), (2, 63), (1, 0)])
def test_total_time_ends_the_wait_for_objects_too(setting: Setting, counted: int | None, code: int) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            session.respond(completed=counted)
            if counted == 1:  # complete: the archive is released first
                session.expect_release()
            sender.expect_abort()
        if counted != 1:
            session.expect_release()

    outcome = setting.run(script, "--total-timeout", 2, *LONG, code=code)
    assert ("incomplete: a timeout expired with" in outcome.log) is (code == 63)
    setting.assert_arrived(setting.made[:1])


def test_object_that_the_total_time_breaks_off_leaves_nothing_partial(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            session.respond(completed=1)
            sender.expect_abort()
        session.expect_release()

    outcome = setting.run(script, "--total-timeout", 2, *LONG, code=63)
    assert f"the transfer of SOP instance {setting.made[1].instance_uid} broke off" in outcome.log
    setting.assert_arrived(setting.made[:1])


def test_archive_that_leaves_while_its_objects_still_come_has_not_failed(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made) as sender:
            session.respond(completed=3)
            session.close()  # as those do that end an idle association
            for instance in setting.made:
                pause()
                assert sender.store(instance) == 0

    setting.run(script)
    setting.assert_arrived(setting.made)


# -- archives with faults ----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Faults, tuple[object, ...], int]] = {
    "never releases": (Faults(never_release=True), ("--store-timeout", 1), 0),
    "never closes": (Faults(never_close=True), ("--store-timeout", 1), 0),
    "final response before the stores": (Faults(success_after=0, late=0.3), (), 0),
    "final response amid the stores": (Faults(success_after=1, late=0.3), (), 0),
    "the rest never comes": (Faults(success_after=1, late=60), ("--store-timeout", 1, "--linger", 1), 63),
    "counts too many": (Faults(overcount=2), ("--linger", 1), 63),
    "silent": (Faults(no_final_response=True), ("-td", 1), 62),
    "stalls": (Faults(no_final_response=True), ("--stall-timeout", 1), 62),
    "endless pending": (Faults(endless_pending=0.2), ("-td", 1, "--total-timeout", 2), 62),
    "endless pending, counting on no more": (Faults(endless_pending=0.2), ("--stall-timeout", 1), 62),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_an_archive_ends_in_time_by_the_code_that_fits(setting: Setting, name: str) -> None:
    faults, options, code = FAULTS[name]
    destinations = {"MOVESCU": (peers.HOST, setting.port)}
    with Archive(setting.made[0].path.parent, destinations, faults=faults) as archive:
        arguments = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={setting.made[0].study_uid}", "+P", setting.port]
        where = ["-aec", archive.ae_title, peers.HOST, archive.port]
        movescu(*arguments, *options, *where, folder=setting.received, code=code)
    setting.assert_arrived(setting.made[:1] if name == "the rest never comes" else setting.made)


def response_to_another_request(session: scripted.Session) -> None:
    session.respond(completed=1, message_id=99)
    session.expect_abort()  # now, and not when the objects are there


ENDS: dict[str, Callable[[scripted.Session], None]] = {
    "a response to another request": response_to_another_request,
    "abort": scripted.Session.abort,
    "close": scripted.Session.close,
    "reset": scripted.Session.reset,
    "release": scripted.Session.release,
}


@pytest.mark.row("44")
@pytest.mark.parametrize("end", ENDS)
def test_objects_in_flight_when_the_archive_is_lost_come_in_whole(setting: Setting, end: str) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made) as one, scripted.sender(setting.port, setting.made) as other:
            one.begin(setting.made[0])
            other.begin(setting.made[1])
            ENDS[end](session)
            assert (other.complete(), one.complete()) == (0, 0)
            assert other.store(setting.made[2]) == 0

    setting.run(script, code=62)
    setting.assert_arrived(setting.made)


def test_sender_that_stops_after_its_archive_was_lost_is_not_waited_for_for_ever(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            session.reset()
            sender.expect_abort()

    setting.run(script, "--store-timeout", 1, code=62)
    setting.assert_arrived(setting.made[:1])


# -- signals -----------------------------------------------------------------------------------------------------------

NO_HANG_UP = pytest.mark.not_without("signals", "windows")
AT_ONCE = {
    "twice INT": ((signal.SIGINT, signal.SIGINT), 130),
    "TERM": ((signal.SIGTERM,), 143),
    "HUP": ((signal.SIGHUP,), 129),
}
"""Signals that end a run at once wherever it is."""
HOW = [pytest.param(name, marks=NO_HANG_UP) if name == "HUP" else name for name in AT_ONCE]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_gives_up_while_connecting_gets_out_at_once(tmp_path: Path, number: int, code: int) -> None:
    with black_hole() as port:
        others = connecting(port)
        with running("-v", "-k", KEY, peers.HOST, port, folder=tmp_path) as command:
            command.await_log("requesting association")
            while connecting(port) == others:  # else the signal may come before the socket has a name, which is told
                time.sleep(0.01)
            command.signal(number)
            command.end().hold_to(code)


@NO_HANG_UP
def test_command_without_a_status_line_goes_on_after_sigusr1(tmp_path: Path) -> None:
    """As in ``pkill -USR1 movescu``, which asks all retrieves for theirs."""
    with black_hole() as port:
        others = connecting(port)
        with running("--query", "-k", "PatientID=1", peers.HOST, port, folder=tmp_path) as command:
            while connecting(port) == others:
                time.sleep(0.01)
            command.signal(signal.SIGUSR1, signal.SIGINT)
            command.end().hold_to(130)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_gives_up_before_an_answer_gets_out_at_once(setting: Setting, number: int, code: int) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.read_request()
        command.signal(number)
        session.expect_abort()

    setting.run_beside(script, code=code)


@contextlib.contextmanager
def four_in_mid_object(setting: Setting) -> Iterator[list[scripted.Sender]]:
    with contextlib.ExitStack() as stack:
        opened = [scripted.sender(setting.port, setting.made, release=False) for _ in range(4)]
        senders = [stack.enter_context(sender) for sender in opened]
        assert senders[0].store(setting.made[0]) == 0
        for sender in senders:
            sender.begin(setting.made[1])
        yield senders


@pytest.mark.parametrize("name", HOW)
@pytest.mark.parametrize("impatient", [False, True])
def test_four_associations_in_mid_object_leave_nothing_partial(setting: Setting, name: str, *, impatient: bool) -> None:
    numbers, code = AT_ONCE[name]

    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        with four_in_mid_object(setting) as senders:
            for count, number in enumerate(numbers, start=1):
                command.signal(number)
                if count < len(numbers):
                    session.expect_cancel()
            session.expect_abort()
            if impatient:  # the program waits a moment for this side to close, and then for its threads
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                    command.signal(number)
                    pause(0.1)
            for sender in senders:
                sender.expect_abort()

    setting.run_beside(script, code=code)
    setting.assert_arrived(setting.made[:1])


def test_archive_may_pass_over_the_wish_to_cancel(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        command.signal(signal.SIGINT)
        session.expect_cancel()
        setting.send(setting.made)
        session.pending(3)
        session.respond(completed=3)
        session.expect_release()

    setting.run_beside(script, code=130)
    setting.assert_arrived(setting.made)


def test_who_interrupts_the_wait_for_late_objects_keeps_what_came_and_leaves_in_good_order(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        setting.send(setting.made[:2])
        session.respond(completed=3)
        command.await_log("received final")
        pause(0.1)
        command.signal(signal.SIGINT)
        session.expect_release()

    setting.run_beside(script, "-v", *LONG, code=130)
    setting.assert_arrived(setting.made[:2])


@pytest.mark.parametrize("name", HOW)
def test_who_ends_the_wait_for_an_object_in_flight_leaves_nothing_partial(setting: Setting, name: str) -> None:
    numbers, code = AT_ONCE[name]

    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        with four_in_mid_object(setting) as senders:
            session.respond(completed=2)
            command.await_log("received final")
            command.signal(*numbers)
            for sender in senders:
                sender.expect_abort()
            session.expect_end_or_release()

    setting.run_beside(script, "-v", *LONG, code=code)
    setting.assert_arrived(setting.made[:1])


SLOW_DISK = """
import os, sys, time

def fsync(fd):
    os.write(2, b"flushing\\n")  # no lock that a signal may find taken
    time.sleep(600)

os.fsync = fsync
from movescu.cli.main import run
sys.argv[1:] = sys.argv[6:]  # behind the words that start the command
run()
"""


@pytest.mark.parametrize("name", HOW)
def test_who_gives_up_while_the_disk_is_slow_keeps_whole_files(setting: Setting, name: str) -> None:
    numbers, code = AT_ONCE[name]

    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()
        command.await_log("flushing")
        command.signal(numbers[0])
        if numbers[1:]:
            command.await_log("interrupt again")
            command.signal(*numbers[1:])

    setting.run_beside(script, code=code, prefix=[sys.executable, "-W", "error", "-c", SLOW_DISK])
    setting.assert_arrived(setting.made)


@NO_HANG_UP
def test_nohup_is_heeded(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        begin_retrieve(session)
        command.signal(signal.SIGHUP)
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()

    setting.run_beside(script, code=0, prefix=["nohup"])
    setting.assert_arrived(setting.made)


# -- requests ----------------------------------------------------------------------------------------------------------


def test_cancel_counts_the_pending_responses_of_each_request(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        for _ in range(2):
            request = session.expect_move()
            for _ in range(2):
                assert not session.connection.readable(0)
                session.pending()
            _, cancel = session.expect_cancel()
            assert cancel.message_id_being_responded_to == request.message_id
            session.pending()  # no second C-CANCEL for one request
            session.respond(CANCEL, completed=0)
        session.expect_release()

    setting.run(script, "--cancel", 2, "--repeat", 2)


def test_request_that_ends_before_it_would_be_cancelled_is_not(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        for _ in range(2):
            session.expect_move()
            session.pending()
            session.respond(completed=0)
        session.expect_release()

    setting.run(script, "--cancel", 2, "--repeat", 2)


def test_what_is_lost_by_a_cancelled_request_is_no_failure(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            session.pending(1)
            session.expect_cancel()
        session.respond(CANCEL, completed=1, failed=0, remaining=2)
        session.expect_release()

    setting.run(script, "--cancel", 1)
    setting.assert_arrived(setting.made[:1])


def test_responses_that_arrive_together_with_a_part_of_the_next_are_read_after_a_cancel(setting: Setting) -> None:
    requested, noted = threading.Event(), threading.Event()

    def script(session: scripted.Session) -> None:
        begin_retrieve(session)
        requested.set()
        session.expect_cancel()
        with session.gathered() as data:
            for completed in range(2):
                session.pending(completed)
            session.respond(CANCEL, completed=1, failed=0, remaining=2, comment="longer than the first two" * 2)
        session.send_bytes(bytes(data[:-10]))
        assert noted.wait(scripted.PATIENCE)  # the first one; the second lies where more would be received into
        session.send_bytes(bytes(data[-10:]))
        session.expect_release()

    with setting.retrieve(script) as retrieve:
        retrieve.start()
        assert requested.wait(scripted.PATIENCE)
        retrieve.cancel()
        completed = []
        for event in retrieve:
            if isinstance(event, ResponseEvent):
                completed.append(event.completed)
                noted.set()
        assert (retrieve.result().outcome, completed) == ("cancelled", [0, 1, 1])


def query_file(path: Path, patient_id: str) -> Path:
    query = Dataset()
    query.PatientID = patient_id
    query.save_as(path, implicit_vr=True, little_endian=True)
    return path


def test_files_are_asked_for_in_their_order_each_so_often_and_the_end_is_an_abort(setting: Setting) -> None:
    asked: list[bytes] = []
    waited: list[float] = []
    queries = setting.received.parent / "queries"
    queries.mkdir()
    files = [query_file(queries / f"{name}.dcm", name) for name in ("FIRST", "OTHER")]

    def script(session: scripted.Session) -> None:
        session.accept()
        for number in range(1, 5):
            assert session.expect_move().message_id == number
            asked.append(session.identifier)
            session.respond(SUB_OPERATIONS_WITH_FAILURES if number == 1 else 0, completed=0)
        session.expect_abort()
        begun = time.monotonic()
        session.await_close()  # while this side leaves the connection open
        waited.append(time.monotonic() - begun)

    with scripted.archive(script) as archive:
        movescu("-k", KEY, "--repeat", 2, "--abort", *archive.address, *files, folder=setting.received, code=68)
    assert [b"FIRST" in identifier for identifier in asked] == [True, True, False, False]
    assert [b"OTHER" in identifier for identifier in asked] == [False, False, True, True]
    assert waited[0] < 25  # a second; DCMTK takes half a minute


# -- real archives -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Instance]:
    """Two hundred objects, which a stock archive takes some seconds to send."""
    return corpus.make_study(tmp_path_factory.mktemp("many"), instances=200, size=2048)


def retrieve(archive: peers.Peer, setting: Setting, many: list[corpus.Instance], *options: object) -> list[object]:
    keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={many[0].study_uid}"]
    return [*keys, "+P", setting.port, "-aec", archive.aet, *options, *archive.address]


def test_orthanc_that_announces_success_before_it_sends_is_waited_for(
    setting: Setting, many: list[corpus.Instance]
) -> None:
    wishes = {"SynchronousCMove": False, "DicomScpTimeout": 1}
    with peers.orthanc({"MOVESCU": (peers.HOST, setting.port)}, wishes) as archive:
        archive.load(corpus.paths(many))
        movescu(*retrieve(archive, setting, many), folder=setting.received)
    setting.assert_arrived(many)


def hold_whole(outcome: Outcome, many: list[corpus.Instance]) -> None:
    made = {f"CT.{instance.instance_uid}": instance.path for instance in many}
    for name, path in outcome.files.items():
        assert corpus.dataset_equal(made[name], path)


@pytest.mark.parametrize("launch", [peers.dcmqrscp, peers.orthanc])
def test_archive_that_is_killed_in_mid_move_is_no_success(
    setting: Setting, many: list[corpus.Instance], launch: Callable[..., contextlib.AbstractContextManager[peers.Peer]]
) -> None:
    with launch({"MOVESCU": (peers.HOST, setting.port)}) as archive:
        archive.load(corpus.paths(many))
        with running("-v", *retrieve(archive, setting, many), folder=setting.received) as command:
            command.await_log("received store request", times=10)
            os.killpg(archive.process.pid, signal.SIGKILL)
            outcome = command.end()
    outcome.hold_to(62)
    assert len(outcome.files) < len(many)
    hold_whole(outcome, many)


def test_exit_code_tells_whether_orthanc_sent_all_before_it_was_shut_down(
    setting: Setting, many: list[corpus.Instance]
) -> None:
    with peers.orthanc({"MOVESCU": (peers.HOST, setting.port)}) as archive:
        archive.load(corpus.paths(many))
        with running("-v", *retrieve(archive, setting, many), folder=setting.received) as command:
            command.await_log("received store request", times=10)
            archive.process.terminate()
            outcome = command.end()
    # It sends what it was asked for and then goes, without an answer to a release request that comes late.
    outcome.hold_to(outcome.code)
    assert outcome.code in ((0, 67) if len(outcome.files) == len(many) else (62, 68, 69))
    hold_whole(outcome, many)
