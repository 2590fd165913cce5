"""Retrieves that do not come to a good end, and those that do though the archive is slow or rude about it.

An archive that breaks off, counts what it did not send, sends late or never ends its storage association: a user has to
learn from the exit code that something is missing, must not wait for ever, and must keep every object that came whole.
"""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import movescu
from setting import KEY, Setting

from movescu.dictionary.uids import PATIENT_ROOT_MOVE
from movescu.dimse.messages import CEchoRQ
from movescu.dimse.status import CANCEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command import Running


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


# -- the association is lost ---------------------------------------------------------------------------------------


def wrong_message(session: scripted.Session) -> None:
    session.send(CEchoRQ(PATIENT_ROOT_MOVE, 1))
    session.expect_abort()


def response_to_another_request(session: scripted.Session) -> None:
    session.respond(completed=1, message_id=99)
    session.expect_abort()


def no_pdu(session: scripted.Session) -> None:
    session.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    session.expect_abort()


ENDS: dict[str, Callable[[scripted.Session], None]] = {
    "abort": scripted.Session.abort,
    "close": scripted.Session.close,
    "reset": scripted.Session.reset,
    "release": scripted.Session.release,
    "silence": scripted.Session.expect_abort,
    "a request in place of a response": wrong_message,
    "a response to another request": response_to_another_request,
    "bytes that are no PDU": no_pdu,
}


@pytest.mark.row("39")
@pytest.mark.row("44")
@pytest.mark.row("46")
@pytest.mark.parametrize("end", ENDS)
def test_archive_that_breaks_off_is_no_success_and_what_came_is_kept(setting: Setting, end: str) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made[:2])
        session.pending(2)
        ENDS[end](session)

    outcome = setting.run(script, "-td", 1, code=62)
    assert "association lost before the final C-MOVE response" in outcome.log
    setting.assert_arrived(setting.made[:2])


def test_requests_after_a_lost_association_are_not_taken_for_done(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        session.expect_move()
        session.abort()

    setting.run(script, "--repeat", 2, code=62)


def test_bad_status_before_the_loss_is_what_the_exit_code_tells_as_with_dcmtk(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(0xA900)
        session.expect_move()
        session.abort()

    setting.run(script, "--repeat", 2, code=69)


def test_release_that_is_not_confirmed_is_told(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made[:1])
        session.respond(completed=1)
        session.close()

    setting.run(script, code=67)


def test_cancel_of_one_request_excuses_no_other_that_the_archive_cancelled_on_its_own(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(CANCEL)
        session.expect_move()
        setting.send(setting.made[:1])
        session.pending(1)
        session.expect_cancel()
        session.respond(CANCEL, completed=1, remaining=1)
        session.expect_release()

    setting.run(script, "--repeat", 2, "--cancel", 1, code=63)


# -- the final status ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(0xB000, 68), (0xA702, 69), (0xC001, 69), (0x0122, 69), (0x1234, 69)])
def test_bad_final_status_is_told_with_the_archives_own_words(setting: Setting, status: int, code: int) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made[:1])
        session.respond(status, completed=1, failed=2, failed_uids=["1.2.3", "1.2.3.4"], comment="tape robot is down")
        session.expect_release()

    outcome = setting.run(script, code=code)
    for told in (f"0x{status:04x}", "tape robot is down", "SOP instance 1.2.3\n", "SOP instance 1.2.3.4\n"):
        assert told in outcome.log
    setting.assert_arrived(setting.made[:1])


def test_requests_after_a_bad_status_are_still_made(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        for status, instance in zip((0xA900, 0xB000, 0x0000), setting.made, strict=True):
            session.expect_move()
            setting.send([instance])
            session.respond(status, completed=1, failed=0 if status == 0 else 1)
        session.expect_release()

    setting.run(script, "--repeat", 3, code=69)
    setting.assert_arrived(setting.made)


# -- counted, but not here -----------------------------------------------------------------------------------------


@pytest.mark.row("45")
def test_objects_that_are_counted_as_sent_to_our_title_with_blanks_are_missing(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=3)
        session.expect_release()

    assert (
        "3 objects as delivered, 0 arrived here" in setting.run(script, "-aem", "MOVESCU ", "--linger", 0, code=63).log
    )


@pytest.mark.row("45")
def test_success_with_fewer_objects_than_the_archive_counts_is_incomplete(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made[:2])
        session.respond(completed=3)
        session.expect_release()

    outcome = setting.run(script, "--linger", 0, code=63)
    assert "the archive counts 3 objects as delivered, 2 arrived here" in outcome.log
    setting.assert_arrived(setting.made[:2])


def test_object_that_cannot_be_stored_is_reported_to_archive_and_user(setting: Setting) -> None:
    first, *others = setting.made
    in_the_way = setting.received / f"CT.{first.instance_uid}"
    in_the_way.mkdir()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert [sender.store(instance) for instance in setting.made] == [0xA700, 0, 0]
        session.respond(completed=3)
        session.expect_release()

    outcome = setting.run(script, code=63)
    assert first.instance_uid in outcome.log
    assert "1 object arrived but could not be stored" in outcome.log
    in_the_way.rmdir()
    setting.assert_arrived(others)


@pytest.mark.row("62")
def test_object_that_is_refused_is_not_asked_for_again(setting: Setting) -> None:
    first, *others = setting.made

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert sender.store(first, data=scripted.data_set(first.path)[:-3]) == 0xC000
            assert [sender.store(instance) for instance in others] == [0] * len(others)
        session.respond(0xB000, completed=len(others), failed=1)
        session.expect_release()

    outcome = setting.run(script, code=68)
    assert f"object {first.instance_uid} is refused by this program (status C000)" in outcome.log
    assert "--bit-preserving (+B) stores it" in outcome.log
    assert "1 object arrived and was refused by this program; repeating the request cannot help" in outcome.log
    assert "request them again" not in outcome.log
    setting.assert_arrived(others)


@pytest.mark.row("32")
def test_object_that_the_disk_does_not_take_whole_leaves_no_file(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert [sender.store(instance) for instance in setting.made] == [0xA700] * 3
        session.respond(completed=3)
        session.expect_release()

    outcome = setting.run(script, code=63, prefix=["prlimit", "--fsize=30000", "--"])
    assert "3 objects arrived but could not be stored" in outcome.log
    setting.assert_arrived([])


def test_what_dcmqrscp_says_of_objects_that_could_not_be_stored_here_decides_the_exit_code(setting: Setting) -> None:
    first, *others = setting.made
    in_the_way = setting.received / f"CT.{first.instance_uid}"
    in_the_way.mkdir()
    with peers.dcmqrscp({"MOVESCU": (peers.HOST, setting.port)}) as archive:
        archive.load(corpus.paths(setting.made))
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={first.study_uid}", "-aec", archive.aet]
        outcome = movescu(*keys, "+P", setting.port, *archive.address, folder=setting.received, code=68)
    assert f"not delivered: SOP instance {first.instance_uid}" in outcome.log
    in_the_way.rmdir()
    setting.assert_arrived(others)


# -- the way of the objects ----------------------------------------------------------------------------------------


@pytest.mark.row("41")
@pytest.mark.row("42")
def test_objects_that_come_after_the_final_response_are_waited_for(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=3)
        setting.send(setting.made)
        session.expect_release()

    setting.run(script)
    setting.assert_arrived(setting.made)


@pytest.mark.row("41")
def test_storage_association_that_outlasts_the_final_response_is_served_to_its_end(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert sender.store(setting.made[0]) == 0
            session.respond()  # many archives give no counts
            assert sender.store(setting.made[1]) == 0
            assert sender.store(setting.made[2]) == 0
        session.expect_release()

    setting.run(script)
    setting.assert_arrived(setting.made)


@pytest.mark.row("12")
def test_sender_that_aborts_inside_an_object_leaves_no_file_and_others_are_served(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
        setting.send(setting.made[2:])
        session.respond(completed=2, failed=1)
        session.expect_release()

    outcome = setting.run(script, code=63)
    assert "the archive reports success but counts 1 object as failed" in outcome.log
    assert f"the transfer of SOP instance {setting.made[1].instance_uid} broke off" in outcome.log
    setting.assert_arrived([setting.made[0], setting.made[2]])


def test_archive_that_checks_our_port_by_c_echo_gets_its_answer(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        subprocess.run(["echoscu", peers.HOST, str(setting.port)], check=True, timeout=scripted.PATIENCE)
        session.respond(completed=0)
        session.expect_release()

    setting.run(script, "--linger", 0)


def test_ignore_receives_everything_and_writes_nothing(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()

    setting.run(script, "--ignore", "-od", setting.received)
    setting.assert_arrived([])


@pytest.mark.row("38")
def test_of_two_archives_objects_of_one_name_the_later_one_stays_and_the_user_is_warned(
    setting: Setting, tmp_path: Path
) -> None:
    original = setting.made[0]
    corrected = original._replace(path=tmp_path / "corrected.dcm")
    corrected.path.write_bytes(original.path.read_bytes().replace(b"Test^Patient", b"Real^Patient"))
    for version in (original, corrected):
        with peers.dcmqrscp({"MOVESCU": (peers.HOST, setting.port)}) as archive:
            archive.load([version.path])
            keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={original.study_uid}", "-aec", archive.aet]
            outcome = movescu(*keys, "+P", setting.port, *archive.address, folder=setting.received)
    assert f"DICOM file already exists, overwriting: ./CT.{original.instance_uid}" in outcome.log
    setting.assert_arrived([corrected])


def test_objects_of_a_class_that_nobody_knows_are_refused_unless_asked_for(setting: Setting) -> None:
    private = setting.made[0]._replace(sop_class_uid="1.2.826.0.1.3680043.8.498.1")
    accepted: list[bool] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, [private, *setting.made]) as sender:
            classes = {context.abstract_syntax for context in sender.connection.contexts.values()}
            accepted.append(private.sop_class_uid in classes)
        session.respond(completed=0)
        session.expect_release()

    setting.run(script, "--linger", 0)
    setting.run(script, "--linger", 0, "--accept-unknown")
    assert accepted == [False, True]


# -- interrupted ---------------------------------------------------------------------------------------------------


def test_who_interrupts_once_lets_the_archive_come_to_its_end(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.accept()
        request = session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert sender.store(setting.made[0]) == 0
            command.signal(signal.SIGINT)
            context_id, cancel = session.expect_cancel()
            assert (context_id, cancel.message_id_being_responded_to) == (3, request.message_id)
            assert sender.store(setting.made[1]) == 0
        session.respond(CANCEL, completed=2)
        session.expect_release()

    outcome = setting.run_beside(script, code=130)
    assert "interrupt again" in outcome.log
    setting.assert_arrived(setting.made[:2])


def test_who_interrupts_twice_gets_out_at_once(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            command.signal(signal.SIGINT)
            session.expect_cancel()
            command.signal(signal.SIGINT)
            session.expect_abort()

    outcome = setting.run_beside(script, code=130)
    assert "interrupted" in outcome.log
    setting.assert_arrived(setting.made[:1])


def test_who_terminates_leaves_nothing_partial(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            sender.begin(setting.made[1])
            command.signal(signal.SIGTERM)
            session.expect_abort()

    outcome = setting.run_beside(script, code=143)
    assert "terminated" in outcome.log
    setting.assert_arrived(setting.made[:1])


def test_who_interrupts_before_an_answer_gets_out_at_once(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.read_request()
        command.signal(signal.SIGINT)
        session.expect_abort()

    setting.run_beside(script, code=130)


# -- a storage client that never ends ------------------------------------------------------------------------------


@pytest.mark.row("43")
@pytest.mark.parametrize("falls_silent", ["between objects", "within an object"])
def test_storage_client_that_never_ends_does_not_keep_the_program_for_ever(setting: Setting, falls_silent: str) -> None:
    within_an_object = falls_silent == "within an object"
    whole = setting.made[:2] if within_an_object else setting.made

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            for instance in whole:
                assert sender.store(instance) == 0
            if within_an_object:
                sender.begin(setting.made[2])
            session.respond(completed=3)
            session.expect_release()  # comes only when the program has given the storage association up

    with setting.retrieve(script, store=0.3, linger=0.1) as retrieve:
        result = retrieve.run()
    assert result.stored == len(whole)
    assert result.missing == 3 - len(whole)
    setting.assert_arrived(whole)
