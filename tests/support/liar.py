"""An archive without sockets, whose answers to C-FIND and C-MOVE a test makes up, and what a retrieve made of them.

``Archive`` stands in for ``retrieve.association.ArchiveAssociation``: it answers from its objects, and each answer goes
through a ``Lies`` first. Whatever arrives is counted by the ``StorageServer`` as if a sender had stored it. It keeps
what it said in ``history``, from which a test can judge without the program's own evidence.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from movescu._runtime.record import replace
from movescu.dictionary.uids import IMPLICIT_LITTLE, STUDY_ROOT_FIND
from movescu.dimse.messages import CStoreRQ
from movescu.dimse.status import PENDING, SUCCESS
from movescu.errors import ConnectionLostError
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.retrieve.attempts import AttemptLoop
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.retrieve.storage_server import StorageServer
from movescu.services.find import FindResponse
from movescu.services.move import MoveResponse
from movescu.services.store import Received
from movescu.storage.incoming_object import Incoming
from movescu.testing.query import encode_identifier
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from movescu.query.identifier import Identifier
    from movescu.retrieve.request_state import RequestState

CT = "1.2.840.10008.5.1.4.1.1.2"
COUNTS = {"STUDY": 0x00201208, "SERIES": 0x00201209}
FIND = Context(1, STUDY_ROOT_FIND, IMPLICIT_LITTLE)


class Object(NamedTuple):
    """An object; its UIDs begin with those of its series and study."""

    study: str
    series: str
    uid: str


def objects(*numbers: int, study: str = "1.2.3") -> list[Object]:
    """Make objects: of a first series, of a second one and so on, as many as the numbers say."""
    return [
        Object(study, f"{study}.{series}", f"{study}.{series}.{number}")
        for series, count in enumerate(numbers, 1)
        for number in range(1, count + 1)
    ]


def incoming(one: Object, originator: str | None, message_id: int) -> Incoming:
    """Make an object that arrives, for the request of a title or of nobody."""
    request = CStoreRQ(
        *(CT, 1, one.uid),
        move_originator_ae_title=originator,
        move_originator_message_id=message_id if originator else None,
    )
    made = Incoming(request, Context(1, CT, IMPLICIT_LITTLE), "ARCHIVE")
    made.place = frozenset((one.study, one.series))
    return made


@dataclass
class Answer:
    """An answer to C-FIND: matches by tag, and the final status."""

    level: str
    keys: dict[int, str]
    matches: list[dict[int, str]]
    status: int = SUCCESS


@dataclass
class Delivery:
    """What a C-MOVE brings: objects, their C-STORE statuses, and the final response; None for a lost association."""

    requested: list[Object]
    delivered: list[Object]
    final: MoveResponse | None
    failing: dict[str, int] = field(default_factory=dict)
    """Our own status for an object, by UID."""


class _Service:
    gets = False
    may_fall_back = False


class Listener:
    """A port at which nobody is."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.open_associations: tuple[()] = ()
        self.unassociated = 0
        self.last_activity = 0.0
        self.port = 11112

    def close(self) -> None:
        """Do nothing."""


class Archive:
    """The archive. ``find`` and ``move`` change an honest answer."""

    service = _Service()
    cancelled = cancel_sent = False
    dropped = 0
    unfinished: MoveResponse | None = None

    def __init__(
        self,
        held: Sequence[Object],
        find: Callable[[Answer], Answer] = lambda answer: answer,
        move: Callable[[Delivery], Delivery] = lambda delivery: delivery,
        *,
        originator: str | None = "MOVESCU",
    ) -> None:
        self.held = list(held)
        self.history: list[Answer | Delivery] = []
        self.is_open = False
        self.requests: list[Identifier] = []
        self.stored: set[str] = set()
        self._find, self._move, self._originator = find, move, originator
        self._message_id = 0
        self.server: StorageServer | None = None

    # -- as an association -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open it."""
        self.is_open = True

    def context(self, sop_class_uid: str) -> Context | None:
        """Return the context of a class that is offered."""
        return FIND if sop_class_uid == STUDY_ROOT_FIND else None

    def grants_relational(self, _: str) -> bool:
        """Relational queries were not negotiated."""
        return False

    def find(self, _: str, identifier: Identifier) -> Iterator[tuple[FindResponse, Context]]:
        """Answer a query."""
        level = identifier.text(LEVEL)
        keys = {key.tag: identifier.text(key.tag) for key in identifier if key.tag & 0xFFFF and key.tag != LEVEL}
        answer = self._find(Answer(level, keys, self._matches(level, keys)))
        self.history.append(answer)
        for match in answer.matches:
            values = {tag: value.encode() + b"\0" * (len(value) & 1) for tag, value in match.items()}
            yield FindResponse(1, PENDING, encode_identifier(values, IMPLICIT_LITTLE)), FIND
        yield FindResponse(1, answer.status), FIND

    def move(
        self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None, note: Callable[[int], None]
    ) -> MoveResponse:
        """Carry out a request."""
        assert self.server is not None
        self.requests.append(identifier)
        self._message_id += 1
        note(self._message_id)
        requested = self._requested(identifier)
        honest = MoveResponse(self._message_id, SUCCESS, None, len(requested), 0, 0)
        delivery = self._move(Delivery(requested, list(requested), honest))
        self.history.append(delivery)
        for one in delivery.delivered:
            status = delivery.failing.get(one.uid, SUCCESS)
            if status == SUCCESS:
                self.stored.add(one.uid)
            self.server._received(Received(incoming(one, self._originator, self._message_id), 10, status))
        if delivery.final is None:
            self.is_open = False
            raise ConnectionLostError("the archive is gone")
        response = replace(delivery.final, message_id=self._message_id)
        if on_response is not None:
            on_response(response)
        return response

    # -- what it has -------------------------------------------------------------------------------------------------

    def _matches(self, level: str, keys: dict[int, str]) -> list[dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        for one in self._named(keys):
            values = {UNIQUE_KEYS["STUDY"]: one.study, UNIQUE_KEYS["SERIES"]: one.series, UNIQUE_KEYS["IMAGE"]: one.uid}
            own = values[UNIQUE_KEYS[level]]
            found[own] = {tag: value for tag, value in values.items() if tag in keys}
            if (count := COUNTS.get(level)) in keys and count is not None:
                number = sum(own in (other.study, other.series) for other in self.held)
                found[own][count] = str(number)
        return list(found.values())

    def _named(self, keys: dict[int, str]) -> list[Object]:
        wanted = [
            frozenset(keys.get(UNIQUE_KEYS[level], "").split("\\")) - {""} for level in ("STUDY", "SERIES", "IMAGE")
        ]
        return [one for one in self.held if all(not uids or uid in uids for uid, uids in zip(one, wanted, strict=True))]

    def _requested(self, identifier: Identifier) -> list[Object]:
        return self._named({tag: identifier.text(tag) for tag in UNIQUE_KEYS.values()})

    # -- a retrieve --------------------------------------------------------------------------------------------------

    def retrieve(self, retry: Retry, *keys: str, before: frozenset[str] = frozenset(), **config: Any) -> RequestState:
        """Retrieve from it. ``before``: SOP instance UIDs of objects on the disk."""
        target = Disk(before) if before else None
        return self.loop(replace(retry, pause=0.0), {"target": target}, **config).run(make_identifier(keys))

    def loop(self, retry: Retry, settings: Mapping[str, Any] = {}, **config: Any) -> AttemptLoop:
        """Make the attempts of a retrieve from it. ``settings``: of ``AttemptLoop``."""
        settled = {"timeouts": Timeouts(linger=0.0, unannounced=0.0), "request": Request(model="STUDY"), **config}
        own = Config(AE("127.0.0.1", 104, "ARCHIVE"), receive=Receive(11112), retry=retry, **settled)
        self.server = StorageServer(own)
        self.server.listener = Listener()  # type: ignore[assignment] # stands in for it
        return AttemptLoop(own, self.server, self, **settings)  # type: ignore[arg-type] # as above


class Disk:
    """A target that has objects."""

    def __init__(self, uids: frozenset[str]) -> None:
        self._uids = uids

    def whole(self, uid: str, _: object) -> bool:
        """Return True if it has an object."""
        return uid in self._uids
