"""Archives that are silent, lie, or break off, and networks that do: the exit code, the message, and what is kept.

The command runs in this process, so that its time-outs need not be whole seconds.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Any

import corpus
import invariants
import peers
import pytest
import scripted
from command import here
from proxy import Proxy, Way
from setting import KEY, Setting
from station import Station, data_set
from wire import black_hole

from movescu._runtime.record import replace
from movescu.cli.options.command_line import parse
from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.dimse.messages import DATA_SET_PRESENT, encode_command
from movescu.services.move import MAXIMUM_IDENTIFIER
from movescu.testing import Archive
from movescu.ul.negotiation import AcceptorPolicy, answer
from movescu.ul.pdu import PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Outcome

SOON: dict[str, Any] = {"store_timeout": 0.3, "linger": 0.1, "dimse_timeout": 0.6, "acse_timeout": 3.0}
SOONER = SOON | {"acse_timeout": 1.0}


@pytest.fixture(params=["move", "get"])
def served(request: pytest.FixtureRequest, setting: Setting) -> Setting:
    """A retrieve by C-MOVE, and by C-GET: for what the archive does over the association of the request."""
    setting.by = request.param
    return setting


def begin(session: scripted.Session) -> None:
    session.accept()
    session.expect_request()


# -- the end of the wait -----------------------------------------------------------------------------------------------


@pytest.mark.row("39")
@pytest.mark.parametrize("limit", ["dimse_timeout", "stall_timeout", "total_timeout"])
def test_silent_archive_is_given_up(served: Setting, limit: str) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        served.send(served.made[:1], session)
        session.expect_abort()

    outcome = served.run_here(script, code=62, **{limit: 0.3})
    assert f"association lost before the final C-{served.by.upper()} response: timed out" in outcome.log
    served.assert_arrived(served.made[:1])


@pytest.mark.row("39")
@pytest.mark.row("40")
@pytest.mark.row("49")
def test_every_wait_has_an_end_though_nobody_asked_for_one() -> None:
    settings = parse(["-k", KEY, "archive", "104"])
    assert settings.connect_timeout == settings.acse_timeout == 30
    assert settings.stall_timeout == 3600
    assert settings.store_timeout == 60
    assert settings.linger == 10


@pytest.mark.row("40")
@pytest.mark.parametrize("counts", [{}, {"completed": 1, "remaining": 2}])
def test_pending_responses_that_count_on_nothing_are_a_standstill(served: Setting, counts: dict[str, Any]) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        served.send(served.made[:1], session)
        while not session.connection.readable(0.01):
            session.respond(0xFF00, **counts)
        session.expect_abort()

    outcome = served.run_here(script, code=62, stall_timeout=0.3)
    assert "no object has arrived, and no count of the archive changed, for 0.3 s" in outcome.log
    served.assert_arrived(served.made[:1])


@pytest.mark.row("40")
def test_archive_that_counts_on_or_sends_does_not_stand_still(served: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        for number in range(25):  # thrice as long as the limit
            assert not session.connection.readable(0.04)
            session.respond(0xFF00, remaining=100 - number, completed=0)
        served.send(served.made, session)
        session.respond(completed=3)
        session.expect_release()

    served.run_here(script, stall_timeout=0.3)
    served.assert_arrived(served.made)


@pytest.mark.row("40")
def test_without_a_port_of_ours_pending_responses_alone_are_progress(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        for _ in range(25):
            assert not session.connection.readable(0.04)
            session.respond(0xFF00)
        session.respond()
        session.expect_release()

    setting.run_here(script, "--no-port", stall_timeout=0.3)


@pytest.mark.row("41")
@pytest.mark.row("42")
@pytest.mark.parametrize("answered_after", [0, 1, 2])
def test_what_comes_behind_the_final_response_is_kept(setting: Setting, answered_after: int) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        for instance in setting.made[:answered_after]:
            setting.send([instance])
        session.respond(completed=3)
        for instance in setting.made[answered_after:]:
            setting.send([instance])  # each over an association of its own
        session.expect_release()

    setting.run_here(script)
    setting.assert_arrived(setting.made)


@pytest.mark.row("43")
@pytest.mark.parametrize("begun", [False, True])
def test_storage_client_that_never_ends_is_aborted_and_the_archive_released(
    setting: Setting, begun: bool
) -> None:  # a parameter
    def script(session: scripted.Session) -> None:
        begin(session)
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            assert sender.store(setting.made[0]) == 0
            if begun:
                sender.begin(setting.made[1])
            session.respond(completed=1)
            if not begun:  # complete: the archive is released first
                session.expect_release()
            sender.expect_abort()
        if begun:
            session.expect_release()

    setting.run_here(script, code=63 if begun else 0, **SOON)
    setting.assert_arrived(setting.made[:1])


# -- what the archive says ---------------------------------------------------------------------------------------------


@pytest.mark.row("45")
@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"completed": 0, "failed": 3}, "the archive reports success but counts 3 objects as failed"),
        ({"completed": 5}, "the archive counts 5 objects as delivered, 1 arrived here"),
        ({"completed": 2}, "the archive counts 2 objects as delivered, 1 arrived here"),
        ({"completed": 65535, "failed": 65535, "remaining": 65535}, "counts 65535 objects"),
    ],
)
def test_success_that_was_none_is_told(served: Setting, counts: dict[str, Any], said: str) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        served.send(served.made[:1], session)
        session.respond(**counts)
        session.expect_release()

    outcome = served.run_here(script, code=63, **SOON)
    assert said in outcome.log
    served.assert_arrived(served.made[:1])


def without_status(session: scripted.Session) -> bytes:
    command = encode_command(session._response(session._message_id, 0, session._move_class))
    status = struct.pack("<HHIH", 0, 0x0900, 2, 0)
    assert status in command
    return command.replace(status, b"")


ANSWERS: dict[str, Callable[[scripted.Session], bytes]] = {
    "without status": without_status,
    "not a command": lambda _: b"\1\2\3",
    "nothing": lambda _: b"",
    "a status of 3 bytes": lambda session: struct.pack(
        "<HHIHHHI3s", 0, 0x0100, 2, session._response.command_field, 0, 0x0900, 3, b"\0\0\0"
    ),
}


@pytest.mark.row("46")
@pytest.mark.row("CVE-2024-34508")
@pytest.mark.parametrize("answer", ANSWERS)
def test_response_that_says_nothing_is_no_success(served: Setting, answer: str) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        served.send(served.made[:1], session)
        command = ANSWERS[answer](session)
        session.send_bytes(PDataTF((PresentationDataValue(session._context_id, 3, command),)).encode())
        session.expect_abort()

    served.run_here(script, code=62)
    served.assert_arrived(served.made[:1])


@pytest.mark.row("46")
def test_response_to_another_message_is_no_success(served: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        session.respond(completed=0, message_id=99)
        session.expect_abort()

    assert "a response to message 99" in served.run_here(script, code=62).log


@pytest.mark.row("45")
def test_list_of_failures_without_end_takes_no_memory_and_is_told(served: Setting) -> None:
    def script(session: scripted.Session) -> None:
        begin(session)
        response = session._response(
            session._message_id, 0xB000, session._move_class, failed=1, command_data_set_type=DATA_SET_PRESENT
        )
        session._exchange.send(session._context_id, response, scripted.soon(), bytes(100 << 20))
        session.expect_release()

    before = invariants.resident()
    outcome = served.run_here(script, code=68)
    assert f"is longer than {MAXIMUM_IDENTIFIER} bytes" in outcome.log
    assert invariants.peak() < before + (100 << 20) + 2 * MAXIMUM_IDENTIFIER + (8 << 20)  # the archive holds its own


ACCEPTANCES = {
    "a context that was not proposed": (b"\x21\0\0\x19\7\0\0\0", "presentation context 7, which was not proposed"),
    "a transfer syntax that was not proposed": (b"\x21\0\0\x19\3\0\0\0", "transfer syntax"),
    "a context twice": (b"\x21\0\0\x19\1\0\0\0", "occurs more than once"),
    "an even context": (b"\x21\0\0\x19\2\0\0\0", "presentation context 2, which was not proposed"),
}


@pytest.mark.row("47")
@pytest.mark.parametrize("what", ACCEPTANCES)
def test_acceptance_of_what_was_not_proposed_ends_at_once(setting: Setting, what: str) -> None:
    head, said = ACCEPTANCES[what]
    syntax = b"1.2.3.4.5.6.7.8.9"
    contexts = (head + b"\x40\0\0\x11" + syntax) * (2 if "twice" in what else 1)

    def script(session: scripted.Session) -> None:
        session.read_request()
        session.send_bytes(b"\2\0" + struct.pack(">I", 68 + len(contexts)) + b"\0\1" + bytes(66) + contexts)
        session.expect_end_or_release()

    outcome = setting.run_here(script, code=61)
    assert said in outcome.log


@pytest.mark.row("54")
def test_unproposed_syntax_on_a_context_that_is_not_used_is_let_pass(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        request = session.read_request()
        reply = answer(request, AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE, IMPLICIT_LITTLE)))
        find, move = reply.contexts
        contexts = (replace(find, transfer_syntax="1.2.840.10008.1.2.4.50"), move)
        session.accept_as(request, replace(reply, contexts=contexts))
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    outcome = setting.run_here(script)
    assert outcome.log.count("presentation context 1 accepted with '1.2.840.10008.1.2.4.50'") == 1


@pytest.mark.row("50")
@pytest.mark.parametrize("header", [b"\2\0\xff\xff\xff\xff", b"\4\0\xff\xff\xff\xff", b"\3\0\0\0\0\5", b"HTTP/1.0 400"])
def test_answer_of_four_gigabytes_is_refused_at_its_header(setting: Setting, header: bytes) -> None:
    def script(session: scripted.Session) -> None:
        session.read_request()
        session.send_bytes(header)
        session.expect_end_or_release()

    outcome = setting.run_here(script, code=61)
    named = "the peer speaks HTTP" if header.startswith(b"HTTP") else "PDU type"
    assert f"association request failed: {named}" in outcome.log


@pytest.mark.row("49")
def test_host_that_does_not_answer_is_given_up(setting: Setting) -> None:
    with black_hole() as port:
        outcome = here("-k", KEY, peers.HOST, port, folder=setting.received, code=61, connect_timeout=0.2)
    assert f"timed out: connecting to {peers.HOST} port {port}" in outcome.log


# -- one object twice --------------------------------------------------------------------------------------------------


@pytest.mark.row("38")
@pytest.mark.parametrize("mode", [{}, {"bit_preserving": True}])
def test_object_twice_is_no_error_and_of_two_versions_the_last_stays(
    station: Station, caplog: pytest.LogCaptureFixture, mode: dict[str, bool]
) -> None:
    sender = station.open(**mode)
    assert sender.store(data_set()).status == 0
    first = (station.folder / "CT.1.2.3").stat()
    assert sender.store(data_set()).status == 0
    assert (station.folder / "CT.1.2.3").stat().st_ino == first.st_ino
    assert not caplog.records
    other = data_set()[:-8] + b"Roe^Rich"
    assert sender.store(other).status == 0
    assert (station.folder / "CT.1.2.3").read_bytes().endswith(other)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "already exists, overwriting" in caplog.text


# -- bad networks ------------------------------------------------------------------------------------------------------

NETWORKS = {
    "byte by byte": Way(split=1),
    "in pieces of 7": Way(split=7),
    "in pieces of 4099": Way(split=4099),
    "slow": Way(split=2000, delay=0.002),
}


def retrieve(setting: Setting, main: tuple[Way, Way], storage: tuple[Way, Way], **expected: Any) -> Outcome:  # settings
    """Retrieve a study over a bad network to the archive, and from its storage client."""
    with (
        Archive(setting.made[0].path.parent, ae_title="ANY-SCP") as archive,
        Proxy(archive.port, *main) as theirs,
        Proxy(setting.port, *storage) as ours,
    ):
        archive.destinations["MOVESCU"] = (peers.HOST, ours.port)
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={setting.made[0].study_uid}"]
        receiving = ["+P", setting.port] if setting.by == "move" else ["--retrieve", setting.by]
        return here(*keys, *receiving, peers.HOST, theirs.port, folder=setting.received, **expected)


@pytest.mark.row("12")
@pytest.mark.parametrize("network", NETWORKS)
def test_network_that_splits_and_delays_changes_nothing(small: Setting, network: str) -> None:
    way = NETWORKS[network]
    retrieve(small, (way, way), (way, way), code=0)
    small.assert_arrived(small.made)


@pytest.fixture
def small(served: Setting) -> Setting:
    """Objects of some KB: byte by byte takes its time."""
    folder = served.received.parent / "made"
    for instance in served.made:
        instance.path.unlink()
    served.made = corpus.make_study(folder, instances=3, size=3000)
    return served


@pytest.mark.row("12")
@pytest.mark.row("44")
@pytest.mark.parametrize("end", ["close", "reset", "half-close", "stall"])
@pytest.mark.parametrize("where", ["archive's answers", "our requests", "objects", "our responses"])
@pytest.mark.parametrize("after", [3, 300, 5000])
@pytest.mark.sampled(6)
def test_network_that_breaks_off_anywhere_is_no_success_or_no_loss(
    setting: Setting, where: str, end: str, after: int
) -> None:
    way, plain = Way(after=after, end=end), Way()
    ways = {
        "archive's answers": ((plain, way), (plain, plain)),
        "our requests": ((way, plain), (plain, plain)),
        "objects": ((plain, plain), (way, plain)),
        "our responses": ((plain, plain), (plain, way)),
    }
    hold_to_disk(setting, retrieve(setting, *ways[where], code=None, **SOONER))


@pytest.mark.row("12")
@pytest.mark.row("44")
@pytest.mark.parametrize("end", ["close", "reset", "half-close", "stall"])
@pytest.mark.parametrize(("ours", "after"), [(True, 20_000), (False, 300), (False, 60_000), (False, 150_000)])
@pytest.mark.sampled(3)
def test_network_that_breaks_off_anywhere_in_a_get_is_no_success_or_no_loss(
    setting: Setting, end: str, after: int, *, ours: bool
) -> None:
    setting.by = "get"
    way, plain = Way(after=after, end=end), Way()
    main = (way, plain) if ours else (plain, way)
    hold_to_disk(setting, retrieve(setting, main, (plain, plain), code=None, **SOONER))


def hold_to_disk(setting: Setting, outcome: Outcome) -> None:
    """Hold an exit code to what is on the disk."""
    whole = [setting.received / f"CT.{instance.instance_uid}" for instance in setting.made]
    complete = all(file.is_file() for file in whole)
    assert outcome.code in (0, 61, 62, 63, 67, 68, 69)
    assert outcome.code != 0 or complete, outcome.log
    assert outcome.code == 0 or outcome.log
    for file, instance in zip(whole, setting.made, strict=True):
        assert not file.exists() or corpus.dataset_equal(instance.path, file)
