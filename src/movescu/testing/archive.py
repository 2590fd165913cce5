"""The test archive: SCP of C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET (PS3.4 annexes A, B, C), on the client's layers.

Each association has a thread, and each request is served to its end before the next. ``query`` matches, ``move_scp``
answers C-MOVE, ``get_scp`` C-GET, ``suboperations`` sends, ``services.store`` receives, and ``faults`` holds what goes
wrong on request.
"""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.dataset.file_meta import encode_file_meta
from movescu.dictionary.uids import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_classes,
)
from movescu.dimse import status as codes
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import DATA_SET_PRESENT, CCancelRQ, CFindRQ, CFindRSP, CGetRQ, CGetRSP, CMoveRQ, CMoveRSP
from movescu.errors import AbortReason, DataSetError, ProtocolError
from movescu.services.store import Received, StorageSCP
from movescu.storage.file_names import file_name
from movescu.storage.options import StorageOptions
from movescu.storage.receiver import receiver_factory
from movescu.storage.writer import OutputDirectory
from movescu.testing.faults import NO_FAULTS, Faults
from movescu.testing.get_scp import GetSCP
from movescu.testing.move_scp import MoveSCP, Plan, UnknownDestinationError
from movescu.testing.query import (
    GET_CLASSES,
    MODELS,
    IdentifierError,
    Query,
    encode_identifier,
    find,
    read_query,
    select,
    stored_tags,
)
from movescu.testing.slots import Refusal, Slots
from movescu.testing.stored_objects import SOP_INSTANCE_UID, StoredObjects
from movescu.testing.suboperations import Destination, Outgoing, sub_operations
from movescu.transport.deadlines import Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import listen
from movescu.ul.negotiation import AcceptorPolicy, Context, answer
from movescu.ul.pdu import AssociateRJ

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from types import TracebackType

    from movescu.dimse.messages import Message
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.testing.stored_objects import Entry
    from movescu.testing.suboperations import SubOperationOutcome
    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateRQ

_log: Final = logger_of("movescu.testing")

_MAXIMUM_LENGTH: Final = 64 * 1024
_MAXIMUM_IDENTIFIER: Final = 16 << 20  # bytes; a list of 100,000 UIDs has 6.5 MB
_COMMENT_LENGTH: Final = 64  # characters of Error Comment (0000,0902), LO
_JOIN_SECONDS: Final = 5.0
_NO_SLOT: Final = AssociateRJ(result=2, source=3, reason=2)
_REFUSALS: Final = {
    Refusal.STATUS: codes.OUT_OF_RESOURCES_MATCHES,
    Refusal.SUB_OPERATIONS: codes.OUT_OF_RESOURCES_SUB_OPERATIONS,
}
_IDLE: Final = Silence(None, "waiting for a request")
_SILENCE: Final = Silence(30.0, "the client of the archive is silent in the middle of a message")

_UNCOMPRESSED: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
# Compressed syntaxes come first, because the archive cannot compress or decompress what it has to serve later.
_PREFERENCE: Final = (
    *(syntax for syntax in TRANSFER_SYNTAXES.values() if syntax.encapsulated),
    *_UNCOMPRESSED,
    *(syntax for syntax in TRANSFER_SYNTAXES.values() if syntax.deflated),
)

Address = tuple[str, int]


class Archive:
    """A small archive with the DICOM files of a folder, as a context manager.

    ``folder``: the DICOM files in it and below are served; None starts with no objects. The files must not change while
    the archive runs. ``destinations``: host and port by AE title; the attribute of that name may be changed at any
    time. ``port``: 0 lets the system choose. ``associations``: number of storage associations that carry the
    sub-operations of one C-MOVE at once. ``received_folder``: existing folder for objects received by C-STORE; None
    keeps them in memory. ``faults``: what to do wrong; a request uses the value that the attribute has when the
    request begins.

    Starting raises ``ListenError`` and, for ``received_folder``, ``DirectoryNotFoundError`` and
    ``DirectoryNotWritableError``.
    """

    def __init__(  # noqa: PLR0913 - each is a setting, and most are left alone
        self,
        folder: Path | str | None = None,
        destinations: Mapping[str, Address] | None = None,
        *,
        ae_title: str = "ARCHIVE",
        host: str = "127.0.0.1",
        port: int = 0,
        associations: int = 1,
        received_folder: Path | str | None = None,
        faults: Faults = NO_FAULTS,
    ) -> None:
        self.destinations: dict[str, Address] = dict(destinations or {})
        self.ae_title = ae_title
        self.host = host
        self.port = port
        self.associations = associations
        self.faults = faults
        self._folder = None if folder is None else Path(folder)
        self._received = None if received_folder is None else Path(received_folder)
        self._index = StoredObjects(stored_tags())
        self._outgoing = Outgoing()
        self.slots = Slots()
        """What is served; ``slots.refused`` counts what was refused for want of a slot."""
        self._background: list[clock.Thread] = []
        self._resources = contextlib.ExitStack()
        self._storage = StorageSCP(self._policy(NO_FAULTS), self._open_receiver, self._on_received, store_timeout=30.0)
        self._open_file: Callable[[Incoming], ObjectReceiver] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """SOP instance UIDs of all objects of the archive."""
        return tuple(entry.sop_instance_uid for entry in self._index.entries())

    def start(self) -> None:
        """Read the folder and listen; raise ``ListenError`` if that fails. The archive answers when this returns."""
        if self._folder is not None:
            self._index.add_folder(self._folder)
        self._outgoing = Outgoing()
        with contextlib.ExitStack() as stack:
            if self._received is not None:
                directory = OutputDirectory(str(self._received))
                stack.callback(directory.close)
                options = StorageOptions(directory=directory.path, bit_preserving=True)
                self._open_file = receiver_factory(options, directory)
            listener = Listener(listen(self.host, self.port), self._serve, maximum_length=_MAXIMUM_LENGTH)
            self.port = listener.port
            stack.callback(listener.close)
            stack.callback(self._outgoing.end)
            self._resources = stack.pop_all()
        _log.info("archive %s with %d objects listens on port %d", self.ae_title, len(self), self.port)

    def close(self) -> None:
        """Stop listening, end every association and wait for the threads."""
        self._resources.close()
        for thread in self._background:
            thread.join(_JOIN_SECONDS)

    # -- associations --------------------------------------------------------------------------------------------------

    def _policy(self, faults: Faults) -> AcceptorPolicy:
        classes = frozenset((*storage_classes(), *MODELS, VERIFICATION))
        refused = GET_CLASSES if faults.accept_no_get else frozenset[str]()
        return AcceptorPolicy(
            lambda uid: uid in classes and uid not in refused and not faults.accept_no_context,
            _PREFERENCE,
            maximum_length=_MAXIMUM_LENGTH,
            is_scu=True,
        )

    def _serve(self, connection: Connection, request: AssociateRQ) -> None:
        """Serve one association to its end, in a thread of its own."""
        faults = self.faults
        if faults.reject is not None:
            connection.reject(AssociateRJ(*faults.reject))
            return
        by_association = faults.refuses_by in (Refusal.REJECT, Refusal.SILENCE)
        number = faults.slots if by_association else 0
        with self.slots.taken(number, waiting=faults.refuses_by is Refusal.SILENCE) as free:
            if free:
                self._serve_accepted(connection, request, faults)
            else:
                connection.reject(_NO_SLOT)

    def _serve_accepted(self, connection: Connection, request: AssociateRQ, faults: Faults) -> None:
        reply = answer(request, self._policy(faults))
        if faults.answers_no_roles:
            reply = replace(reply, user_information=replace(reply.user_information, role_selections=()))
        connection.accept(request, reply, _SILENCE)
        with connection.closing_on_error():
            exchange = Exchange(connection)
            while received := exchange.receive(_IDLE):
                self._dispatch(exchange, *received, request.calling_ae_title)
            connection.confirm_release(_SILENCE)

    def _dispatch(self, exchange: Exchange, context_id: int, message: Message, calling_ae_title: str) -> None:
        context = exchange.connection.contexts[context_id]
        if isinstance(message, CCancelRQ):
            return  # the C-CANCEL-RQ crossed the final response (PS3.7 9.3.2.3)
        if not isinstance(message, CFindRQ | CMoveRQ | CGetRQ):
            self._storage.dispatch(exchange, context_id, message, calling_ae_title)
        elif message.affected_sop_class_uid != context.abstract_syntax or context.abstract_syntax not in MODELS:
            raise ProtocolError(
                f"{message.name} on a presentation context of another SOP class",
                abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        elif isinstance(message, CFindRQ):
            self._find(exchange, context, message)
        elif isinstance(message, CGetRQ):
            self._get(exchange, context, message)
        else:
            self._move(exchange, context, message, calling_ae_title)

    # -- C-FIND --------------------------------------------------------------------------------------------------------

    def _find(self, exchange: Exchange, context: Context, request: CFindRQ) -> None:
        """Answer a C-FIND request (PS3.4 C.4.1.3)."""
        response = CFindRSP(request.message_id, codes.SUCCESS, request.affected_sop_class_uid)
        try:
            query = _query(exchange, context)
        except IdentifierError as error:
            response.status = codes.DATA_SET_DOES_NOT_MATCH
            response.error_comment = str(error)[:_COMMENT_LENGTH]
            response.offending_elements = error.offending_elements
        else:
            if not self._send_matches(exchange, context, request, query):
                response.status = codes.CANCEL
        exchange.send(context.context_id, response, _SILENCE)

    def _send_matches(self, exchange: Exchange, context: Context, request: CFindRQ, query: Query) -> bool:
        """Send a pending response for each match. Return False if a C-CANCEL ended that."""
        for values, supported in find(self._index.entries(query.studies), query, self.ae_title):
            if exchange.connection.readable(0):
                received = exchange.receive_response(_SILENCE)
                if isinstance(received[1], CCancelRQ):
                    return False
            status = codes.PENDING if supported else codes.PENDING_WARNING
            response = CFindRSP(request.message_id, status, request.affected_sop_class_uid)
            response.command_data_set_type = DATA_SET_PRESENT
            identifier = encode_identifier(values, context.transfer_syntax)
            exchange.send(context.context_id, response, _SILENCE, identifier)
        return True

    # -- C-MOVE --------------------------------------------------------------------------------------------------------

    def _move(self, exchange: Exchange, context: Context, request: CMoveRQ, calling_ae_title: str) -> None:
        """Answer a C-MOVE request."""
        faults = self.faults

        def plan() -> Plan:
            query = _query(exchange, context)
            _check_list(query, faults)
            if request.move_destination not in self.destinations:
                raise UnknownDestinationError(f"move destination {request.move_destination!r} is not known")
            host, port = self.destinations[request.move_destination]
            destination = Destination(
                request.move_destination, host, port, self.ae_title, calling_ae_title, request.message_id
            )
            entries = select(self._index.entries(query.studies), query)
            return Plan(entries, sub_operations(entries, destination, faults, self._outgoing, self.associations))

        refusal = _REFUSALS.get(faults.refuses_by)
        with self.slots.taken(faults.slots if refusal is not None else 0) as free:
            if free or refusal is None:
                MoveSCP(exchange, context, request, faults).serve(plan, self._carry_out_later)
                return
        for _ in exchange.data_set(_SILENCE):
            pass
        response = CMoveRSP(request.message_id, refusal, request.affected_sop_class_uid)
        exchange.send(context.context_id, response, _SILENCE)

    # -- C-GET ---------------------------------------------------------------------------------------------------------

    def _get(self, exchange: Exchange, context: Context, request: CGetRQ) -> None:
        """Answer a C-GET request."""
        faults = self.faults

        def chosen() -> Sequence[Entry]:
            query = _query(exchange, context)
            _check_list(query, faults)
            return select(self._index.entries(query.studies), query)

        if faults.get_status is not None:
            response = CGetRSP(request.message_id, faults.get_status, request.affected_sop_class_uid)
            for _ in exchange.data_set(_SILENCE):
                pass
            exchange.send(context.context_id, response, _SILENCE)
            return
        GetSCP(exchange, context, request, faults, self._outgoing).serve_entries(chosen)

    def _carry_out_later(self, outcomes: Generator[SubOperationOutcome], seconds: float) -> None:
        """Carry out, in a thread, the sub-operations that remain after the final response of a C-MOVE."""

        def run() -> None:
            self._outgoing.ended.wait(seconds)
            deque(outcomes, maxlen=0)

        thread = clock.Thread(target=run, name="movescu-testing-later", daemon=True)
        self._background.append(thread)
        thread.start()

    # -- C-STORE -------------------------------------------------------------------------------------------------------

    def _open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        request, syntax = incoming.request, incoming.context.transfer_syntax
        class_uid, instance_uid = request.affected_sop_class_uid, request.affected_sop_instance_uid
        if self._open_file is not None and self._received is not None:
            path = self._received / file_name(class_uid, instance_uid)
            return _FolderReceiver(self._index, self._open_file(incoming), path)
        return _MemoryReceiver(self._index, encode_file_meta(class_uid, instance_uid, syntax.uid))

    def _on_received(self, received: Received) -> None:
        _log.info("object %s: %04x", received.incoming.request.affected_sop_instance_uid, received.status)


class _MemoryReceiver:
    """Keep a received object in memory."""

    def __init__(self, index: StoredObjects, meta: bytes) -> None:
        self._index = index
        self._data = bytearray(meta)

    def write(self, *fragments: memoryview) -> None:
        self._data += b"".join(fragments)

    def finish(self) -> None:
        self._index.add(bytes(self._data))

    def discard(self) -> None:
        self._data.clear()


class _FolderReceiver:
    """Write a received object to a file by ``receiver``, and add it to the index."""

    def __init__(self, index: StoredObjects, receiver: ObjectReceiver, path: Path) -> None:
        self._index = index
        self._receiver = receiver
        self._path = path

    def write(self, *fragments: memoryview) -> None:
        self._receiver.write(*fragments)

    def finish(self) -> None:
        self._receiver.finish()
        try:
            self._index.add(self._path)
        except DataSetError:
            self._path.unlink()
            raise

    def discard(self) -> None:
        self._receiver.discard()


def _check_list(query: Query, faults: Faults) -> None:
    if faults.takes_no_lists and b"\\" in query.keys.get(SOP_INSTANCE_UID, b""):
        raise IdentifierError("no more than one SOP instance UID is taken", (SOP_INSTANCE_UID,))


def _query(exchange: Exchange, context: Context) -> Query:
    """Receive the identifier of a request.

    Raise ``IdentifierError`` if it does not fit the request, and ``ProtocolError`` if it is too long.
    """
    identifier = bytearray()
    for fragment in exchange.data_set(_SILENCE):
        identifier += fragment
        if len(identifier) > _MAXIMUM_IDENTIFIER:
            raise ProtocolError(
                f"an identifier of more than {_MAXIMUM_IDENTIFIER} bytes",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
    return read_query(bytes(identifier), context.transfer_syntax, context.abstract_syntax)
