"""An association over a real connection: its establishment, and every way in which it ends."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from wire import LAST, WAIT, acceptance, loopback, p_data, raw_peer, read_all, read_pdu, request, soon

from movescu._runtime.record import replace
from movescu.dictionary.uids import IMPLICIT_LITTLE, VERIFICATION
from movescu.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    AssociationReleasedError,
    ConnectionLostError,
    InterruptedConnectionError,
    LocalProtocolError,
    MovescuError,
    ProtocolError,
    TimedOutError,
)
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import Transport
from movescu.ul.association import Association
from movescu.ul.indications import Fragment, ReleaseIndication
from movescu.ul.negotiation import Context
from movescu.ul.pdu import Abort, AnsweredContext, AssociateRJ, PDataTF, ReleaseRP, ReleaseRQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.ul.pdu import AssociateRQ

DATA = p_data((1, LAST, b"data"))
GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


@contextmanager
def running(target: Callable[[], object]) -> Iterator[queue.SimpleQueue[object]]:
    """Run something in a thread for the time of the block; what it gives or raises is in the queue."""
    outcome: queue.SimpleQueue[object] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(target())
        except MovescuError as error:
            outcome.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield outcome
    thread.join(WAIT)
    assert not thread.is_alive()


@contextmanager
def answered(*replies: bytes) -> Iterator[tuple[Transport, list[bytes]]]:
    """Give a Transport whose peer answers each PDU that it gets with one of ``replies``, hears one more and closes."""
    heard: list[bytes] = []
    with loopback() as (near, far):

        def converse() -> None:
            for reply in replies:
                heard.append(read_pdu(far))
                far.sendall(reply)
            heard.append(read_pdu(far))  # an abort, or nothing because our side has closed
            far.close()

        with running(converse):
            yield Transport(near, "the peer"), heard


@contextmanager
def both() -> Iterator[tuple[Connection, Connection]]:
    """Give requestor and acceptor of an association."""
    with loopback() as (near, far):
        acceptor = Connection(Transport(far, "the requestor"), Association())

        def accept() -> None:
            asked = acceptor.receive_request(WAIT)
            acceptor.accept(asked, acceptance(asked), soon())

        with running(accept):
            requestor = Connection.request(Transport(near, "the acceptor"), request(), WAIT)
        yield requestor, acceptor
        requestor.close()
        acceptor.close()


def is_closed(connection: Connection) -> bool:
    return connection.fileno() == -1


# -- establishment ---------------------------------------------------------------------------------------------------


def test_connection_has_the_contexts_on_both_sides_and_carries_data_both_ways() -> None:
    with both() as (requestor, acceptor):
        assert requestor.contexts == acceptor.contexts == {1: Context(1, VERIFICATION, IMPLICIT_LITTLE)}
        for here, there in ((requestor, acceptor), (acceptor, requestor)):
            here.send([DATA], soon())
            fragment = there.next_fragment(soon())
            assert (fragment.context_id, fragment.control, bytes(fragment.data)) == (1, LAST, b"data")


def test_rejection_is_reported_with_its_fields_and_a_hint() -> None:
    with answered(AssociateRJ(1, 1, 7).encode()) as (transport, heard):
        with pytest.raises(AssociationRejectedError, match="called AE title not recognized") as e:
            Connection.request(transport, request(), WAIT)
        assert transport.fileno() == -1
    assert (e.value.result, e.value.source, e.value.reason) == (1, 1, 7)
    assert "--call" in e.value.hint
    assert heard == [request().encode(), b""]


OUTCOMES = {
    "abort": (Abort(0, 0).encode(), AssociationAbortedError, b""),
    "provider's abort": (Abort(2, 1).encode(), AssociationAbortedError, b""),
    "release": (ReleaseRQ().encode(), ProtocolError, Abort(2, 2).encode()),
    "an answer to what was not proposed": (
        replace(acceptance(), contexts=(AnsweredContext(5, 0, IMPLICIT_LITTLE.uid),)).encode(),
        ProtocolError,
        Abort(2, 6).encode(),
    ),
    "something that is no DICOM": (GARBAGE, ProtocolError, Abort(2, 1).encode()),
    "an acceptance of 4 GiB": (b"\2\0\xff\xff\xff\xff", ProtocolError, Abort(2, 6).encode()),
}


@pytest.mark.parametrize(("reply", "error", "last_word"), OUTCOMES.values(), ids=OUTCOMES)
def test_answer_other_than_an_acceptance_ends_the_request_at_once(
    reply: bytes, error: type[MovescuError], last_word: bytes
) -> None:
    with answered(reply) as (transport, heard):
        with pytest.raises(error):
            Connection.request(transport, request(), WAIT)
        assert transport.fileno() == -1
    assert heard[1] == last_word


def test_close_in_place_of_an_answer_is_a_lost_connection() -> None:
    with loopback() as (near, far):
        far.close()
        with pytest.raises(ConnectionLostError):
            Connection.request(Transport(near, "the peer"), request(), WAIT)


def test_peer_that_does_not_answer_is_aborted() -> None:
    with (
        answered(b"") as (transport, heard),
        pytest.raises(TimedOutError, match="answer to the association request"),
    ):
        Connection.request(transport, request(), 0.05)
    assert heard[1] == Abort(0, 0).encode()


def test_data_right_after_the_acceptance_is_not_lost() -> None:
    with answered(acceptance().encode() + DATA.encode()) as (transport, _):
        connection = Connection.request(transport, request(), WAIT)
        assert bytes(connection.next_fragment(soon()).data) == b"data"
        connection.close()


# -- being asked -----------------------------------------------------------------------------------------------------


@contextmanager
def asked() -> Iterator[tuple[Connection, socket.socket]]:
    with loopback() as (near, far):
        connection = Connection(Transport(near, "the peer"), Association())
        yield connection, far
        connection.close()


@pytest.mark.parametrize("begun", [b"", b"\x01\0\0"], ids=["nothing", "three bytes"])
def test_connection_without_a_request_is_closed_without_an_answer(begun: bytes) -> None:
    with asked() as (connection, far):
        far.sendall(begun)
        with pytest.raises(TimedOutError, match="association request"):
            connection.receive_request(0.05)
        assert is_closed(connection)
        assert read_all(far) == b""


def test_connection_closed_before_a_request_is_an_error() -> None:
    with asked() as (connection, far):
        far.close()
        with pytest.raises(ConnectionLostError, match="no association"):
            connection.receive_request(WAIT)
        assert is_closed(connection)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (GARBAGE, Abort(2, 1).encode()),
        (DATA.encode(), Abort(0, 0).encode()),
        (b"\1\0\xff\xff\xff\xff", Abort(2, 6).encode()),
        (request().encode().replace(b"\0\1", b"\0\2", 1), AssociateRJ(1, 2, 2).encode()),
    ],
    ids=["no DICOM", "data first", "4 GiB", "another protocol version"],
)
def test_first_pdu_other_than_a_request_is_refused_as_in_the_standard(sent: bytes, answer: bytes) -> None:
    with asked() as (connection, far):
        far.sendall(sent)
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError):
            connection.receive_request(WAIT)
        assert read_all(far) == answer


def test_rejection_is_sent_and_the_connection_closed() -> None:
    with asked() as (connection, far):
        far.sendall(request().encode())
        connection.receive_request(WAIT)
        far.shutdown(socket.SHUT_WR)
        connection.reject(AssociateRJ(2, 3, 2))
        assert is_closed(connection)
        assert read_all(far) == AssociateRJ(2, 3, 2).encode()


@pytest.mark.parametrize(
    "give",
    [
        lambda connection, wanted: connection.accept(wanted, acceptance(wanted), soon()),
        lambda connection, _: connection.reject(AssociateRJ(2, 3, 2)),
    ],
    ids=["accept", "reject"],
)
def test_request_aborted_before_its_answer_is_an_aborted_association(
    give: Callable[[Connection, AssociateRQ], None],
) -> None:
    with asked() as (connection, far):
        far.sendall(request().encode() + Abort(0, 0).encode())
        wanted = connection.receive_request(WAIT)
        with pytest.raises(AssociationAbortedError):
            give(connection, wanted)
        assert is_closed(connection)


# -- release ---------------------------------------------------------------------------------------------------------


def test_release_ends_both_sides() -> None:
    with both() as (requestor, acceptor):
        with running(lambda: requestor.release(soon())) as outcome:
            assert isinstance(acceptor.next(soon()), ReleaseIndication)
            acceptor.confirm_release(soon())
        assert outcome.get(timeout=WAIT) is None
        assert is_closed(requestor)
        assert is_closed(acceptor)


@contextmanager
def established(*replies: bytes) -> Iterator[tuple[Connection, list[bytes]]]:
    """Give the requesting Connection of an association whose peer goes on as in ``answered``."""
    with answered(acceptance().encode(), *replies) as (transport, heard):
        connection = Connection.request(transport, request(), WAIT)
        yield connection, heard
        connection.close()


def test_data_during_a_release_is_dropped() -> None:
    many = p_data((1, 0, bytes(4000))).encode() * 50
    with established(many + ReleaseRP().encode()) as (connection, heard):
        connection.release(soon())
    assert heard[1:] == [ReleaseRQ().encode(), b""]


@pytest.mark.row("16")
def test_release_collision_ends_in_a_release() -> None:
    with established(ReleaseRQ().encode(), ReleaseRP().encode()) as (connection, heard):
        connection.release(soon())
        assert is_closed(connection)
    assert heard[1:] == [ReleaseRQ().encode(), ReleaseRP().encode(), b""]


@pytest.mark.row("16")
def test_release_collision_of_the_acceptor_ends_in_a_release() -> None:
    with raw_peer() as (connection, far):
        with running(lambda: connection.release(soon())) as outcome:
            assert read_pdu(far) == ReleaseRQ().encode()
            far.sendall(ReleaseRQ().encode() + ReleaseRP().encode())
            assert read_pdu(far) == ReleaseRP().encode()
            far.close()
        assert outcome.get(timeout=WAIT) is None
        assert is_closed(connection)


@pytest.mark.row("16")
def test_release_by_both_connections_at_once_succeeds() -> None:
    with (
        both() as (requestor, acceptor),
        running(lambda: requestor.release(soon())) as first,
        running(lambda: acceptor.release(soon())) as second,
    ):
        assert first.get(timeout=WAIT) is None
        assert second.get(timeout=WAIT) is None


def test_release_succeeds_if_the_peer_released_first() -> None:
    with raw_peer() as (connection, far):
        far.sendall(DATA.encode() + ReleaseRQ().encode())
        far.shutdown(socket.SHUT_WR)
        connection.next_fragment(soon())
        connection.release(soon())
        assert read_pdu(far) == ReleaseRP().encode()
        assert is_closed(connection)


@pytest.mark.parametrize(
    ("behind", "error"),
    [
        (Abort(0, 0).encode(), AssociationAbortedError),
        (ReleaseRQ().encode() + Abort(0, 0).encode(), AssociationAbortedError),
        (ReleaseRQ().encode() + DATA.encode(), ProtocolError),
        (GARBAGE, ProtocolError),
    ],
    ids=["abort", "release and abort", "data behind a release", "garbage"],
)
def test_release_reports_what_ended_the_association_before(behind: bytes, error: type[MovescuError]) -> None:
    with raw_peer() as (connection, far):
        far.sendall(DATA.encode() + behind)
        far.shutdown(socket.SHUT_WR)
        connection.next_fragment(soon())
        with pytest.raises(error):
            connection.release(soon())
        assert is_closed(connection)


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Abort(0, 0).encode(), AssociationAbortedError), (GARBAGE, ProtocolError), (b"", TimedOutError)],
    ids=["abort", "garbage", "silence"],
)
def test_release_that_is_not_confirmed_is_an_error(reply: bytes, error: type[MovescuError]) -> None:
    with established(reply) as (connection, _):
        with pytest.raises(error):
            connection.release(Deadline(WAIT if reply else 0.05, "the confirmation"))
        assert is_closed(connection)


def test_release_on_a_connection_that_the_peer_closes_is_an_error() -> None:
    with raw_peer() as (connection, far):
        far.close()
        with pytest.raises(ConnectionLostError):
            connection.release(soon())
        assert is_closed(connection)


@pytest.mark.parametrize("behind", [Abort(0, 0).encode(), DATA.encode(), GARBAGE], ids=["abort", "data", "garbage"])
def test_release_of_the_peer_is_confirmed_whatever_follows_it(behind: bytes) -> None:
    with raw_peer() as (connection, far):
        far.sendall(ReleaseRQ().encode() + behind)
        far.shutdown(socket.SHUT_WR)
        assert isinstance(connection.next(soon()), ReleaseIndication)
        connection.confirm_release(soon())
        assert is_closed(connection)


def test_release_in_place_of_data_is_confirmed_and_reported() -> None:
    with raw_peer() as (connection, far):
        far.sendall(ReleaseRQ().encode())
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(AssociationReleasedError):
            connection.next_fragment(soon())
        assert read_all(far) == ReleaseRP().encode()


# -- other ends ------------------------------------------------------------------------------------------------------


def test_abort_reaches_the_peer_and_closes() -> None:
    with both() as (requestor, acceptor):

        def wait() -> None:
            with acceptor.closing_on_error():
                acceptor.next_fragment(soon())

        with running(wait) as outcome:
            requestor.abort()
            error = outcome.get(timeout=WAIT)
        assert isinstance(error, AssociationAbortedError)
        assert (error.source, error.reason) == (0, 0)
        assert is_closed(requestor)


def test_abort_reaches_a_peer_that_is_still_sending() -> None:
    """A socket closed with bytes unread resets the connection, and the A-ABORT would be lost."""
    with raw_peer() as (connection, far):
        far.sendall(DATA.encode() * 1000)
        with running(connection.abort):
            assert read_pdu(far) == Abort(0, 0).encode()
            far.close()
        assert is_closed(connection)


def test_second_abort_does_nothing() -> None:
    with raw_peer() as (connection, far):
        far.shutdown(socket.SHUT_WR)
        connection.abort()
        connection.abort()
        assert read_all(far) == Abort(0, 0).encode()


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_vanished_peer_is_a_lost_connection(reset: bool) -> None:  # a parameter
    with raw_peer() as (connection, far):
        if reset:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionLostError), connection.closing_on_error():
            connection.next_fragment(soon())
        assert is_closed(connection)


def test_peer_that_vanishes_within_a_pdu_is_a_lost_connection() -> None:
    with raw_peer() as (connection, far):
        far.sendall(DATA.encode() + DATA.encode()[:-1])
        far.close()
        assert bytes(connection.next_fragment(soon()).data) == b"data"
        with pytest.raises(ConnectionLostError, match="closed the connection"):
            connection.next_fragment(soon())
        connection.close()


def test_last_object_survives_garbage_in_the_same_segment() -> None:
    payload = bytes(range(256)) * 40
    with raw_peer() as (connection, far):
        far.sendall(p_data((1, LAST, payload)).encode() + GARBAGE)
        far.shutdown(socket.SHUT_WR)
        fragment = connection.next_fragment(soon())
        assert bytes(fragment.data) == payload
        with pytest.raises(ProtocolError, match="47H is unknown"):
            connection.next_fragment(soon())
        assert read_all(far) == Abort(2, 1).encode()
        assert is_closed(connection)


def test_data_before_an_abort_is_returned_before_it() -> None:
    with raw_peer() as (connection, far):
        far.sendall(DATA.encode() * 3 + Abort(2, 0).encode())
        assert [bytes(connection.next_fragment(soon()).data) for _ in range(3)] == [b"data"] * 3
        with pytest.raises(AssociationAbortedError) as e:
            connection.next_fragment(soon())
        assert e.value.source == 2
        connection.close()


def test_silent_peer_is_timed_out_and_aborted() -> None:
    with raw_peer() as (connection, far):

        def hear() -> bytes:
            heard = read_pdu(far)
            far.close()
            return heard

        with (
            running(hear) as heard,
            pytest.raises(TimedOutError, match="the next word"),
            connection.closing_on_error(),
        ):
            connection.next_fragment(Deadline(0.05, "the next word"))
        assert heard.get(timeout=WAIT) == Abort(0, 0).encode()


def test_exception_in_this_program_aborts_the_association() -> None:
    with raw_peer() as (connection, far):
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(ZeroDivisionError), connection.closing_on_error():
            1 // 0  # noqa: B018 - the error is what is wanted
        assert read_all(far) == Abort(0, 0).encode()


def test_send_after_the_end_is_a_local_error() -> None:
    with raw_peer() as (connection, far):
        far.shutdown(socket.SHUT_WR)
        connection.abort()
        with pytest.raises(LocalProtocolError):
            connection.send([DATA], soon())


# -- from another thread ---------------------------------------------------------------------------------------------


def test_waiting_thread_can_be_interrupted() -> None:
    with raw_peer() as (connection, far):

        def wait() -> None:
            with connection.closing_on_error():
                connection.next(Deadline(None, "for ever"))

        with running(wait) as outcome:
            connection.interrupt("time to go")
            error = outcome.get(timeout=WAIT)
        assert isinstance(error, InterruptedConnectionError)
        assert str(error) == "time to go"
        assert read_all(far) == Abort(0, 0).encode()


def test_interrupt_before_the_wait_is_not_lost() -> None:
    with raw_peer() as (connection, far):
        connection.interrupt("time to go")
        far.sendall(DATA.encode())
        with pytest.raises(InterruptedConnectionError):
            connection.next(soon())
        connection.close()
        connection.interrupt("too late")


def test_last_activity_is_visible_to_other_threads() -> None:
    with raw_peer() as (connection, far):
        before = connection.last_activity
        far.sendall(DATA.encode())
        assert isinstance(connection.next(soon()), Fragment)
        assert connection.last_activity > before
        connection.close()


def test_readable_sees_queued_indications_and_unread_bytes() -> None:
    with raw_peer() as (connection, far):
        assert not connection.readable(0)
        far.sendall(DATA.encode() + ReleaseRQ().encode())
        assert connection.readable(WAIT)
        connection.next_fragment(soon())
        assert connection.readable(0)  # the release request, which is not on the wire any more
        connection.close()


def test_message_leaves_the_moment_it_is_sent() -> None:
    with raw_peer() as (connection, far):
        pdus: list[PDataTF] = [DATA, DATA]
        connection.send(pdus, soon())
        assert [read_pdu(far) for _ in pdus] == [pdu.encode() for pdu in pdus]
        connection.close()
