"""The sub-operations of a C-MOVE or C-GET, as SCU of PS3.4 annex B, C.4.2.2 and C.4.3.2.

Those of a C-MOVE go over storage associations with its destination, those of a C-GET over the association of the
request.

Objects are sent as they are stored: each SOP class and stored transfer syntax gets a presentation context. If the
receiver accepts an uncompressed object only in another uncompressed transfer syntax, the object is recoded. Objects for
which 128 contexts do not suffice go over another association. ``move_scp`` counts and reports the outcomes.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode
from movescu.dictionary.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.dimse import status as codes
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import DataSetError, PeerError, ProtocolError
from movescu.testing.faults import Faults, break_off, hold_open
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.sockets import connect
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateRQ, ProposedContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from queue import SimpleQueue

    from movescu.dimse.messages import Message
    from movescu.testing.stored_objects import Entry
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.testing")

MAXIMUM_CONTEXTS: Final = 128
"""Presentation contexts of one association: the odd IDs from 1 to 255 (PS3.8 9.3.2.2)."""

_UNCOMPRESSED: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
_SECONDS: Final = 30.0
_MAXIMUM_LENGTH: Final = 16384

Numbered: TypeAlias = "tuple[int, Entry]"
"""An object and its number among the sub-operations, from 1."""
_Proposal: TypeAlias = tuple[str, tuple[str, ...]]


class SubOperationOutcome(NamedTuple):
    """Outcome of a sub-operation: the receiver's status of PS3.4 table B.2-1, or one that stands for a failure here."""

    entry: Entry
    status: int


class Destination(NamedTuple):
    """The move destination, and the AE that requested the C-MOVE."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    """AE title of the archive."""
    originator_ae_title: str
    originator_message_id: int


class Outgoing:
    """The open connections of an archive to destinations, which end with it. Safe in any thread."""

    def __init__(self) -> None:
        self.ended = clock.Event()
        self._lock = clock.Lock()
        self._connections: set[Connection] = set()
        self._held = contextlib.ExitStack()

    def opened(self, connection: Connection) -> None:
        """Add an association that a thread uses."""
        with self._lock:
            self._connections.add(connection)
            if self.ended.is_set():
                connection.interrupt("the archive has ended")

    def closed(self, connection: Connection) -> None:
        """Remove an association that has ended."""
        with self._lock:
            self._connections.discard(connection)

    def hold(self, resource: contextlib.AbstractContextManager[object]) -> None:
        """Keep a resource open that no thread uses."""
        with self._lock:
            self._held.enter_context(resource)
            if self.ended.is_set():
                self._held.close()

    def end(self) -> None:
        """Wake the threads that wait for a destination, and close the resources held."""
        self.ended.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt("the archive has ended")
            self._held.close()


def sub_operations(
    entries: Sequence[Entry], destination: Destination, faults: Faults, outgoing: Outgoing, associations: int
) -> Generator[SubOperationOutcome]:
    """Send objects over a number of associations at once; yield the outcome of each as it comes.

    Sending begins with the first ``next``. Closing the generator stops it and releases the associations.
    """
    numbered = list(enumerate(entries, start=1))
    senders = [_Sender(destination, faults, outgoing).send(numbered[i::associations]) for i in range(associations)]
    return senders[0] if associations == 1 else _merged(senders)


def _merged(parts: Sequence[Generator[SubOperationOutcome]]) -> Generator[SubOperationOutcome]:
    """Run each generator in a thread, and yield their outcomes."""
    outcomes: SimpleQueue[SubOperationOutcome | None] = clock.queue()
    stopped = clock.Event()

    def run(part: Generator[SubOperationOutcome]) -> None:
        with contextlib.closing(part):
            for outcome in part:
                outcomes.put(outcome)
                if stopped.is_set():
                    break
        outcomes.put(None)

    threads = [clock.Thread(target=run, args=(part,), name="movescu-testing-sender", daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while (outcome := outcomes.get()) is not None:
                yield outcome
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


class _Sender:
    """A Storage SCU that sends objects over one association after the other."""

    def __init__(self, destination: Destination, faults: Faults, outgoing: Outgoing) -> None:
        self._destination = destination
        self._faults = faults
        self._outgoing = outgoing
        self._silence = Silence(_SECONDS, "the destination of a C-MOVE is silent")

    def send(self, entries: Sequence[Numbered]) -> Generator[SubOperationOutcome]:
        for proposals, group in _groups(entries):
            done = 0
            try:
                with self._association(proposals) as connection:
                    exchange, contexts = Exchange(connection), _contexts(connection)
                    for number, entry in group:
                        outcome = self._sub_operation(exchange, contexts, number, entry)
                        done += 1
                        yield outcome
            except PeerError as error:
                _log.warning("storage association with %s: %s", self._destination.ae_title, error)
                for _, entry in group[done:]:
                    yield SubOperationOutcome(entry, codes.OUT_OF_RESOURCES)

    @contextlib.contextmanager
    def _association(self, proposals: Sequence[_Proposal]) -> Iterator[Connection]:
        destination = self._destination
        request = AssociateRQ(
            called_ae_title=destination.ae_title,
            calling_ae_title=destination.calling_ae_title,
            contexts=tuple(ProposedContext(2 * i + 1, *proposal) for i, proposal in enumerate(proposals)),
            user_information=user_information(_MAXIMUM_LENGTH),
        )
        transport = connect(destination.host, destination.port, _SECONDS)
        connection = Connection.request(transport, request, _SECONDS)
        self._outgoing.opened(connection)
        try:
            yield connection
        except GeneratorExit:
            with contextlib.suppress(PeerError):  # nobody awaits the outcomes of the rest any more
                self._farewell(connection)
            raise
        except BaseException:
            connection.abort()
            raise
        else:
            self._farewell(connection)
        finally:
            self._outgoing.closed(connection)

    def _farewell(self, connection: Connection) -> None:
        if self._faults.never_release:
            self._outgoing.hold(contextlib.closing(connection))
            return
        if self._faults.never_close:
            self._outgoing.hold(hold_open(connection))
        connection.release(self._silence)

    def _sub_operation(
        self, exchange: Exchange, contexts: dict[tuple[str, str], Context], number: int, entry: Entry
    ) -> SubOperationOutcome:
        faults = self._faults
        if faults.pause:
            self._outgoing.ended.wait(faults.pause)
        if faults.drops(number):
            return SubOperationOutcome(entry, codes.SUCCESS)
        if faults.fails(number):
            return SubOperationOutcome(entry, codes.OUT_OF_RESOURCES)
        context = next((contexts[key] for key in _keys(entry) if key in contexts), None)
        if context is None:
            _log.warning(
                "%s does not accept objects of SOP class %s as they are stored",
                self._destination.ae_title,
                entry.sop_class_uid,
            )
            return SubOperationOutcome(entry, codes.SOP_CLASS_NOT_SUPPORTED)
        try:
            data_set = _data_set(entry, context)
        except (OSError, DataSetError) as error:
            _log.warning("object %s cannot be sent: %s", entry.sop_instance_uid, error)
            return SubOperationOutcome(entry, codes.CANNOT_UNDERSTAND)
        return SubOperationOutcome(entry, self._store(exchange, context, number, entry, data_set))

    def _store(self, exchange: Exchange, context: Context, number: int, entry: Entry, data_set: memoryview) -> int:
        """Send one object (PS3.7 9.1.1). Return the status of the response."""
        request = CStoreRQ(
            entry.sop_class_uid,
            (number - 1) % 0xFFFF + 1,
            entry.sop_instance_uid,
            move_originator_ae_title=self._destination.originator_ae_title or None,
            move_originator_message_id=self._destination.originator_message_id or None,
        )
        if self._faults.sender_ends_by is not None and self._faults.breaks_off(number):
            break_off(exchange, context.context_id, request, data_set, self._faults.sender_ends_by)
        exchange.send(context.context_id, request, self._silence, data_set)
        response = self._response_over(exchange)
        if not isinstance(response, CStoreRSP) or response.message_id_being_responded_to != request.message_id:
            raise ProtocolError(f"{response.name} where the response to C-STORE request {request.message_id} is due")
        return response.status

    def _response_over(self, exchange: Exchange) -> Message:
        """Wait for the response to the last C-STORE request."""
        return exchange.receive_response(self._silence)[1]


class OwnAssociation(_Sender):
    """The Storage SCU of a C-GET: it sends over the association of the request.

    ``note`` is called with each message where a response is due, and returns True if it is none.
    """

    def __init__(
        self,
        exchange: Exchange,
        destination: Destination,
        faults: Faults,
        outgoing: Outgoing,
        note: Callable[[Message], bool],
    ) -> None:
        super().__init__(destination, faults, outgoing)
        self._exchange = exchange
        self._note = note

    def send_all(self, entries: Sequence[Entry]) -> Generator[SubOperationOutcome]:
        """Send objects one after the other, and yield the outcome of each."""
        contexts = _contexts(self._exchange.connection)
        for number, entry in enumerate(entries, start=1):
            yield self._sub_operation(self._exchange, contexts, number, entry)

    def _response_over(self, exchange: Exchange) -> Message:
        while self._note(message := super()._response_over(exchange)):
            pass
        return message


def _proposals(entry: Entry) -> list[_Proposal]:
    """Return the contexts for an object: as it is stored and, if it is not compressed, recoded."""
    stored = entry.transfer_syntax
    proposals: list[_Proposal] = [(entry.sop_class_uid, (stored.uid,))]
    if not stored.encapsulated:
        others = tuple(syntax.uid for syntax in _UNCOMPRESSED if syntax is not stored)
        proposals.append((entry.sop_class_uid, others))
    return proposals


def _keys(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield SOP class and transfer syntax of the contexts that can carry an object, the best first."""
    for class_uid, syntaxes in _proposals(entry):
        for syntax in syntaxes:
            yield class_uid, syntax


def _contexts(connection: Connection) -> dict[tuple[str, str], Context]:
    return {(c.abstract_syntax, c.transfer_syntax.uid): c for c in connection.contexts.values()}


def _groups(entries: Iterable[Numbered]) -> Iterator[tuple[list[_Proposal], list[Numbered]]]:
    """Divide objects into groups that one association can carry, in order."""
    proposals: dict[_Proposal, None] = {}
    group: list[Numbered] = []
    for number, entry in entries:
        more = dict.fromkeys(itertools.chain(proposals, _proposals(entry)))
        if len(more) > MAXIMUM_CONTEXTS:
            yield list(proposals), group
            more, group = dict.fromkeys(_proposals(entry)), []
        proposals = more
        group.append((number, entry))
    if group:
        yield list(proposals), group


def _data_set(entry: Entry, context: Context) -> memoryview:
    """Return the bytes to send. Raise ``OSError`` or ``DataSetError`` if they cannot be read or recoded."""
    data_set, syntax = entry.data_set(), context.transfer_syntax
    if syntax is not entry.transfer_syntax:
        data_set = memoryview(recode(data_set, entry.transfer_syntax, Encoding(transfer_syntax=syntax)))
    if len(data_set) & 1 and syntax.deflated:
        data_set = memoryview(bytes(data_set) + b"\0")  # files need no padding, messages do (PS3.5 A.5)
    return data_set
