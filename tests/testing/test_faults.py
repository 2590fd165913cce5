"""Each fault of the test archive, as its client and its destination see it.

Both use movescu's own layers, whose errors distinguish the ways in which an association ends; ``test_archive`` uses
DCMTK's clients. ``Witness.events`` has the events of both, in order: a fault is a wrong order, a wrong count or a wrong
end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import corpus
import peers
import pytest

from movescu.dictionary.uids import EXPLICIT_LITTLE, STUDY_ROOT_MOVE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    AssociationReleasedError,
    ConnectionLostError,
    PeerError,
    TimedOutError,
)
from movescu.query.identifier import make_identifier
from movescu.services.move import MoveResponse, MoveSCU
from movescu.testing import Archive, Ending, Faults
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

PATIENCE = 20.0
SOON = Silence(PATIENCE, "the archive is silent")
OBJECTS = 5
SUCCESS, WITH_FAILURES, PENDING = 0x0000, 0xB000, 0xFF00


class Witness:
    """The events of several threads, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._changed = threading.Condition()

    def note(self, event: str) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, event: str, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.events.count(event) >= count, PATIENCE), self.events

    def order(self, *events: str) -> bool:
        """Return True if these events happened first in this order."""
        places = [self.events.index(event) for event in events]
        return places == sorted(places)


class Destination:
    """A storage SCP that accepts every object, and notes the events of each association until its connection ends."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def serve(self, connection: Connection, request: AssociateRQ) -> None:
        connection.accept(request, answer(request, AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,))), SOON)
        self._witness.note("storage opened")
        # A handle of its own: Connection closes the other one whatever the peer does.
        with socket.socket(fileno=os.dup(connection.fileno())) as handle:
            try:
                self._store_all(Exchange(connection))
                connection.confirm_release(SOON)
                self._witness.note("storage released")
            except PeerError as error:
                self._witness.note(f"storage: {type(error).__name__}")
            handle.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                while handle.recv(4096):
                    pass
        self._witness.note("storage closed")

    def _store_all(self, exchange: Exchange) -> None:
        while received := exchange.receive(SOON):
            context_id, request = received
            assert isinstance(request, CStoreRQ)
            for _ in exchange.data_set(SOON):
                pass
            self._witness.note("stored")
            exchange.send(context_id, CStoreRSP(request.message_id, SUCCESS), SOON)


@contextlib.contextmanager
def destination(witness: Witness) -> Iterator[tuple[str, int]]:
    """Run a destination; yield its address."""
    listener = Listener(listen(peers.HOST, 0), Destination(witness).serve)
    try:
        yield peers.HOST, listener.port
    finally:
        listener.close()


class Scene:
    """An archive with one study, its client, and the events between them."""

    def __init__(self, archive: Archive, witness: Witness, study_uid: str) -> None:
        self.archive = archive
        self.witness = witness
        self._keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study_uid}"]

    def associate(self) -> Connection:
        request = AssociateRQ(
            called_ae_title=self.archive.ae_title,
            calling_ae_title="CLIENT",
            contexts=propose([STUDY_ROOT_MOVE], [EXPLICIT_LITTLE]),
            user_information=user_information(16384),
        )
        return Connection.request(connect(self.archive.host, self.archive.port, PATIENCE), request, PATIENCE)

    def responses(self, deadline: Silence = SOON) -> Generator[MoveResponse]:
        """Request the study; yield its responses. The association is released after the last, or aborted if stopped."""
        connection = self.associate()
        with connection.closing_on_error():
            scu = MoveSCU(Exchange(connection), connection.contexts[1], "CLIENT")
            scu.request(make_identifier(self._keys).encode(EXPLICIT_LITTLE), SOON)
            for response in scu.responses(deadline):
                self.witness.note("final" if response.status != PENDING else "pending")
                yield response
            connection.release(SOON)

    def move(self, faults: Faults) -> MoveResponse:
        """Request the study and return the final response."""
        self.archive.faults = faults
        *_, final = self.responses()
        return final


@pytest.fixture(name="scene")
def fixture_scene(tmp_path: Path) -> Iterator[Scene]:
    made = corpus.make_study(tmp_path, instances=OBJECTS, size=8192)
    witness = Witness()
    with destination(witness) as address, Archive(tmp_path, {"CLIENT": address}) as archive:
        yield Scene(archive, witness, made[0].study_uid)


def counts(response: MoveResponse) -> tuple[int, int | None, int | None]:
    return response.status, response.completed, response.failed


def test_archive_without_faults_sends_every_object(scene: Scene) -> None:
    scene.archive.faults = Faults()
    responses = list(scene.responses())
    assert [response.remaining for response in responses] == [4, 3, 2, 1, 0, None]
    assert counts(responses[-1]) == (SUCCESS, OBJECTS, 0)
    scene.witness.wait_for("storage closed")
    assert scene.witness.order("storage opened", "stored", "storage released", "storage closed")
    assert scene.witness.events.count("stored") == OBJECTS


# -- the association of the request ------------------------------------------------------------------------------------


def test_association_is_rejected_with_the_given_reason(scene: Scene) -> None:
    scene.archive.faults = Faults(reject=(1, 1, 7))
    with pytest.raises(AssociationRejectedError) as rejection:
        scene.associate()
    assert (rejection.value.result, rejection.value.source, rejection.value.reason) == (1, 1, 7)


def test_association_is_accepted_without_contexts(scene: Scene) -> None:
    scene.archive.faults = Faults(accept_no_context=True)
    connection = scene.associate()
    assert not connection.contexts
    connection.release(SOON)


@pytest.mark.parametrize(
    ("ending", "error", "words"),
    [
        (Ending.ABORT, AssociationAbortedError, "aborted"),
        (Ending.CLOSE, ConnectionLostError, "closed the connection"),
        (Ending.RESET, ConnectionLostError, "reset by peer"),
        (Ending.RELEASE, AssociationReleasedError, "released"),
    ],
)
@pytest.mark.parametrize("after", [0, 2])
def test_association_ends_before_the_final_response(
    scene: Scene, ending: Ending, error: type[PeerError], words: str, after: int
) -> None:
    with pytest.raises(error, match=words):
        scene.move(Faults(main_ends_by=ending, main_ends_after=after))
    assert scene.witness.events.count("stored") == after
    assert "final" not in scene.witness.events


def test_archive_sends_no_final_response(scene: Scene) -> None:
    scene.archive.faults = Faults(no_final_response=True)
    with pytest.raises(TimedOutError):
        list(scene.responses(Silence(0.3, "the archive is silent")))
    assert scene.witness.events.count("pending") == scene.witness.events.count("stored") == OBJECTS


def test_archive_sends_pending_responses_without_end(scene: Scene) -> None:
    scene.archive.faults = Faults(endless_pending=0.01)
    remaining = [response.remaining for response, _ in zip(scene.responses(), range(20), strict=False)]
    assert remaining == [4, 3, 2, 1] + [0] * 16


# -- counts ------------------------------------------------------------------------------------------------------------


def test_final_response_counts_more_objects_than_were_sent(scene: Scene) -> None:
    assert counts(scene.move(Faults(overcount=3))) == (SUCCESS, OBJECTS + 3, 0)
    assert scene.witness.events.count("stored") == OBJECTS


def test_counts_above_16_bits_are_left_out(scene: Scene) -> None:
    """The counts are of VR US: 65,535 at most."""
    final = scene.move(Faults(overcount=0x10000))
    assert (final.status, final.completed, final.failed) == (SUCCESS, None, None)


def test_dropped_objects_count_as_completed(scene: Scene) -> None:
    assert counts(scene.move(Faults(drop_every=2))) == (SUCCESS, OBJECTS, 0)
    assert scene.witness.events.count("stored") == OBJECTS - 2


def test_failed_objects_are_named(scene: Scene) -> None:
    final = scene.move(Faults(fail_every=2))
    assert counts(final) == (WITH_FAILURES, OBJECTS - 2, 2)
    assert set(final.failed_sop_instance_uids) <= set(scene.archive.sop_instance_uids)
    assert len(set(final.failed_sop_instance_uids)) == 2
    assert scene.witness.events.count("stored") == OBJECTS - 2


def test_final_response_of_failures_only_is_a702(scene: Scene) -> None:
    final = scene.move(Faults(fail_every=1))
    assert counts(final) == (0xA702, 0, OBJECTS)
    assert set(final.failed_sop_instance_uids) == set(scene.archive.sop_instance_uids)


def test_failed_list_of_more_than_64_kb_is_encoded(tmp_path: Path) -> None:
    """In explicit VR, the list then is of VR UN (PS3.5 6.2.2)."""
    made = corpus.make_study(tmp_path, instances=1100, size=512)
    with Archive(tmp_path, {"CLIENT": (peers.HOST, peers.free_port())}) as archive:
        final = Scene(archive, Witness(), made[0].study_uid).move(Faults())
    assert counts(final) == (0xA702, 0, 1100)
    assert set(final.failed_sop_instance_uids) == {instance.instance_uid for instance in made}


# -- the order of things -----------------------------------------------------------------------------------------------


def test_final_response_precedes_the_storage_association(scene: Scene) -> None:
    assert counts(scene.move(Faults(success_after=0, late=0.1))) == (SUCCESS, OBJECTS, 0)
    scene.witness.wait_for("storage closed")
    assert scene.witness.order("final", "storage opened", "stored", "storage released")
    assert scene.witness.events.count("stored") == OBJECTS


def test_final_response_comes_amid_the_sub_operations(scene: Scene) -> None:
    assert counts(scene.move(Faults(success_after=2, late=0.1))) == (SUCCESS, OBJECTS, 0)
    scene.witness.wait_for("stored", OBJECTS)
    before = scene.witness.events[: scene.witness.events.index("final")]
    assert before.count("stored") == before.count("pending") == 2


def test_archive_that_is_closed_drops_late_sub_operations(scene: Scene) -> None:
    scene.move(Faults(success_after=2, late=600))
    scene.archive.close()  # returns at once
    assert "movescu-testing-later" not in [thread.name for thread in threading.enumerate()]


def test_archive_pauses_before_each_object(scene: Scene) -> None:
    """A client that stops during a pause gets no further object: the archive sees the end of the association."""
    scene.archive.faults = Faults(pause=0.05)
    responses = scene.responses()
    next(responses)
    responses.close()
    scene.witness.wait_for("storage released")
    assert scene.witness.events.count("stored") < OBJECTS


# -- storage associations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "seen"),
    [
        (Ending.ABORT, "storage: AssociationAbortedError"),
        (Ending.CLOSE, "storage: ConnectionLostError"),
        (Ending.RESET, "storage: ConnectionLostError"),
        (Ending.RELEASE, "storage: AssociationReleasedError"),
    ],
)
def test_sender_ends_amid_a_data_set(scene: Scene, ending: Ending, seen: str) -> None:
    final = scene.move(Faults(sender_ends_by=ending, sender_ends_in=3))
    assert counts(final) == (WITH_FAILURES, 2, 3)
    scene.witness.wait_for("storage closed")
    assert scene.witness.events.count("stored") == 2
    assert seen in scene.witness.events


def test_storage_association_is_never_released(scene: Scene) -> None:
    assert counts(scene.move(Faults(never_release=True))) == (SUCCESS, OBJECTS, 0)
    scene.witness.note("archive ends")
    scene.archive.close()
    scene.witness.wait_for("storage closed")
    assert "storage released" not in scene.witness.events
    assert scene.witness.order("final", "archive ends", "storage closed")


def test_storage_connection_is_never_closed(scene: Scene) -> None:
    assert counts(scene.move(Faults(never_close=True))) == (SUCCESS, OBJECTS, 0)
    scene.witness.wait_for("storage released")
    scene.witness.note("archive ends")
    scene.archive.close()
    scene.witness.wait_for("storage closed")
    assert scene.witness.order("storage released", "archive ends", "storage closed")


def test_faults_of_different_places_can_be_combined(scene: Scene) -> None:
    final = scene.move(Faults(drop_every=2, overcount=1, never_release=True))
    assert counts(final) == (SUCCESS, OBJECTS + 1, 0)
    assert scene.witness.events.count("stored") == OBJECTS - 2
