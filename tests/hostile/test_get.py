"""C-GET from an archive that breaks the rules over the one association: the run ends, no object is in part there."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import corpus
import pytest
import scripted
from command import here

from movescu.dimse.messages import CEchoRSP, CGetRSP, CMoveRSP, CStoreRQ, encode_command
from movescu.ul.pdu import PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Outcome
    from invariants import Invariants
    from setting import Setting

CT = "1.2.840.10008.5.1.4.1.1.2"
COMMAND, LAST = 1, 2


def retrieve(setting: Setting, script: scripted.Script, *options: object, code: int, **settings: object) -> Outcome:
    """Retrieve by C-GET from a script."""
    with scripted.archive(script) as archive:
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={setting.made[0].study_uid}")
        arguments = ["-S", *keys, "--retrieve", "get", *options, *archive.address]
        return here(*arguments, folder=setting.received, code=code, **settings)


def context_of(session: scripted.Session, abstract_syntax: str = CT) -> int:
    contexts = session.connection.contexts.values()
    return next(one.context_id for one in contexts if one.abstract_syntax == abstract_syntax)


def put(session: scripted.Session, context_id: int, control: int, data: bytes) -> None:
    value = PresentationDataValue(context_id, control, data)
    session.connection.send([PDataTF((value,))], scripted.soon())


def request(setting: Setting, *, message_id: int = 7) -> bytes:
    one = setting.made[1]
    return encode_command(CStoreRQ(one.sop_class_uid, message_id, one.instance_uid))


def fragment_without_a_command(session: scripted.Session, _: Setting) -> None:
    put(session, context_of(session), LAST, b"\0" * 100)


def command_inside_a_data_set(session: scripted.Session, setting: Setting) -> None:
    put(session, context_of(session), COMMAND | LAST, request(setting))
    put(session, context_of(session), 0, b"\0" * 100)
    put(session, context_of(session), COMMAND | LAST, request(setting))


def data_set_on_another_context(session: scripted.Session, setting: Setting) -> None:
    put(session, context_of(session), COMMAND | LAST, request(setting))
    put(session, context_of(session, "1.2.840.10008.5.1.4.1.1.4"), LAST, b"\0" * 100)


def context_that_was_not_accepted(session: scripted.Session, setting: Setting) -> None:
    session.send_bytes(b"\4\0" + struct.pack(">IIBB", 8, 4, 255, COMMAND | LAST) + request(setting)[:2])


def command_without_end(session: scripted.Session, _: Setting) -> None:
    for _part in range(10):
        put(session, context_of(session), COMMAND, b"\0" * 10_000)


def command_of_no_service(session: scripted.Session, _: Setting) -> None:
    session.send(CEchoRSP(1, 0))


def response_to_move(session: scripted.Session, _: Setting) -> None:
    session.send(CMoveRSP(1, 0, completed=1))


def response_to_another_request(session: scripted.Session, _: Setting) -> None:
    session.send(CGetRSP(4242, 0, completed=1))


def store_without_a_data_set(session: scripted.Session, setting: Setting) -> None:
    one = setting.made[1]
    session.send(CStoreRQ(one.sop_class_uid, 7, one.instance_uid, command_data_set_type=0x0101))


def pdu_of_no_type(session: scripted.Session, _: Setting) -> None:
    session.send_bytes(b"\x42\0\0\0\0\4abcd")


VIOLATIONS: list[Callable[[scripted.Session, Setting], None]] = [
    fragment_without_a_command,
    command_inside_a_data_set,
    data_set_on_another_context,
    context_that_was_not_accepted,
    command_without_end,
    command_of_no_service,
    response_to_move,
    response_to_another_request,
    store_without_a_data_set,
    pdu_of_no_type,
]


@pytest.mark.row("G1")
@pytest.mark.parametrize("violate", VIOLATIONS)
def test_violation_of_the_protocol_aborts_the_association(
    setting: Setting, violate: Callable[[scripted.Session, Setting], None]
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        assert session.sender.store(setting.made[0]) == 0
        violate(session, setting)
        session.expect_end()

    outcome = retrieve(setting, script, code=62)
    assert "association lost before the final C-GET response" in outcome.log
    setting.assert_arrived(setting.made[:1])


@pytest.mark.row("G3")
def test_object_that_is_not_what_its_request_says_is_refused(setting: Setting, sandbox: Invariants) -> None:
    other = scripted.data_set(setting.made[1].path)

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        assert sender.store(setting.made[0], data=other) == 0xA900
        assert sender.store(setting.made[0], data=b"garbage!" * 100) == 0xC000
        assert sender.store(setting.made[1]) == 0
        session.respond(0xB000, completed=1, failed=2)
        session.serve_finds([])

    retrieve(setting, script, code=68)
    setting.assert_arrived(setting.made[1:2])
    sandbox.check_files()


@pytest.mark.row("G3")
def test_uid_that_leads_out_of_the_directory_stays_in_it(setting: Setting, sandbox: Invariants) -> None:
    evil = setting.made[0]._replace(instance_uid="../../../tmp/evil")

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        assert session.sender.store(evil) == 0xA900
        session.respond(0xA702, failed=1)
        session.serve_finds([])

    retrieve(setting, script, code=69)
    setting.assert_arrived([])
    sandbox.check_files()


@pytest.mark.row("G2")
@pytest.mark.parametrize("limits", [{"store_timeout": 0.3}, {"dimse_timeout": 0.3}, {"total_timeout": 0.5}])
def test_silence_amid_an_object_ends_the_run(setting: Setting, limits: dict[str, object]) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        assert sender.store(setting.made[0]) == 0
        sender.begin(setting.made[1])
        session.expect_end()

    outcome = retrieve(setting, script, code=62, **limits)
    assert "timed out" in outcome.log
    setting.assert_arrived(setting.made[:1])


@pytest.mark.row("G3")
def test_object_that_is_sent_twice_makes_up_for_no_other(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        assert sender.store(setting.made[0]) == 0
        assert sender.store(setting.made[0]) == 0
        session.respond(completed=2)
        session.expect_release()

    outcome = retrieve(setting, script, code=63)
    assert "counts 2 objects as delivered, 1 arrived" in outcome.log


@pytest.mark.row("G3")
@pytest.mark.parametrize("options", [(), ("--only-requested",)])
def test_object_of_another_study_makes_up_for_no_other(
    setting: Setting, tmp_path_factory: pytest.TempPathFactory, options: tuple[str, ...]
) -> None:
    foreign = corpus.make_study(tmp_path_factory.mktemp("foreign"), studies=2, size=2000)[-1]
    status = 0x0124 if options else 0

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        assert session.sender.store(setting.made[0]) == 0
        assert session.sender.store(foreign) == status
        session.respond(completed=2)
        session.expect_release()

    outcome = retrieve(setting, script, *options, code=63)
    assert "counts 2 objects as delivered, 1 arrived" in outcome.log


@pytest.mark.row("G3")
def test_object_that_was_not_named_makes_up_for_none_that_was(setting: Setting) -> None:
    wanted, other = setting.made[:2]

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        assert session.sender.store(other) == 0
        session.respond(completed=1)
        session.expect_release()

    keys = ("-k", f"SeriesInstanceUID={wanted.series_uid}", "-k", f"SOPInstanceUID={wanted.instance_uid}")
    with scripted.archive(script) as archive:
        level = ("-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={wanted.study_uid}")
        outcome = here("-S", *level, *keys, "--retrieve", "get", *archive.address, folder=setting.received, code=63)
    assert "counts 1 object as delivered, 0 arrived" in outcome.log


CONTRADICTIONS: dict[str, tuple[list[dict[str, int]], int]] = {
    "a failure counted before": ([{"status": 0xFF00, "completed": 1, "failed": 1, "remaining": 1}, {}], 63),
    "more to do than was done": ([{"status": 0xFF00, "completed": 1, "failed": 0, "remaining": 4}, {}], 63),
    "a cancel that nobody asked for": ([{"status": 0xFE00, "completed": 3}], 63),
    "a status that no table has": ([{"status": 0x1234, "completed": 3}], 69),
    "a warning": ([{"status": 0xB000, "completed": 3}], 68),
    "a list of failures": ([{"completed": 3}], 63),
}
"""Responses after all objects, and the exit code. With a list, another association is tried."""


@pytest.mark.row("G3")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_final_response_that_contradicts_what_was_sent_is_no_success(setting: Setting, what: str) -> None:
    responses, code = CONTRADICTIONS[what]
    lists = what == "a list of failures"

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        for instance in setting.made:
            assert sender.store(instance) == 0
        for counts in responses:
            session.respond(**counts, failed_uids=[setting.made[0].instance_uid] if lists else ())  # type: ignore[arg-type] # named counts
        session.serve_finds([])

    def again(session: scripted.Session) -> None:
        """The same over the association with other contexts."""
        session.accept()
        session.expect_get()
        session.respond(0xB000, failed=1)
        session.serve_finds([])

    scripts = (script, again) if lists else (script,)
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={setting.made[0].study_uid}")
    with scripted.archive(*scripts) as archive:
        outcome = here("-S", *keys, "--retrieve", "get", *archive.address, folder=setting.received, code=None)
    assert outcome.code == code, outcome.log
    setting.assert_arrived(setting.made)


def test_object_begun_after_the_final_response_makes_the_retrieve_incomplete(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        assert sender.store(setting.made[0]) == 0
        session.respond(completed=1)
        sender.begin(setting.made[1])
        session.abort()

    retrieve(setting, script, code=63)
    setting.assert_arrived(setting.made[:1])
