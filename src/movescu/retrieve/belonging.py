"""What belongs to a request: the objects that make up for those that the archive counts (PS3.7 9.1.1.1.6).

An object belongs to the requests of an attempt if its Move Originator is one of our titles, or the sender itself, which
some archives name whoever requested; and, without a Move Originator, if it, its series or its study was requested.
Patient ID decides nothing, as archives coerce it. An object that does not belong is stored all the same: it makes up
for nothing.
"""

from __future__ import annotations

from movescu.query.levels import LEVEL, UNIQUE_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.storage.incoming_object import Incoming, ObjectReceiver

_STUDY: Final = UNIQUE_KEYS["STUDY"]
_SERIES: Final = UNIQUE_KEYS["SERIES"]
_LEVELS: Final = ("IMAGE", "SERIES", "STUDY")
"""From the lowest; a patient is named by no UID."""


class Belonging:
    """What belongs to the requests of an attempt. ``titles``: that a Move Originator may have. Default: any."""

    def __init__(self, titles: frozenset[str] = frozenset()) -> None:
        self._titles = titles
        self._requests: list[frozenset[str]] = []
        """Study or Series Instance UIDs of each request that names no objects; empty if it names neither."""
        self._objects: list[frozenset[str]] = []
        """SOP Instance UIDs of each request that names objects."""

    def add(self, request: Identifier) -> None:
        """Add what a request names: objects, series or studies, by its lowest unique key."""
        level = request.text(LEVEL).strip()
        for name in _LEVELS[_LEVELS.index(level) if level in _LEVELS else 0 :]:
            if uids := _definite(request.text(UNIQUE_KEYS[name])):
                (self._objects if name == "IMAGE" else self._requests).append(uids)
                return
        self._requests.append(frozenset())

    def depends_on_place(self, incoming: Incoming) -> bool:
        """Return True if an object's study and series decide whether it belongs."""
        return not _originator(incoming) and any(self._requests)

    def requests_of(self, incoming: Incoming) -> int:
        """Return the number of requests that an object may belong to by its UID, study and series."""
        place = incoming.place
        number = sum(not (place and requested) or not requested.isdisjoint(place) for requested in self._requests)
        if self._objects:
            uid = incoming.request.affected_sop_instance_uid
            number += sum(uid in requested for requested in self._objects)
        return number

    @property
    def is_placed(self) -> bool:
        """Whether study and series are to be read: each request that names no objects names studies or series."""
        return bool(self._requests) and all(self._requests)

    def has(self, incoming: Incoming, *, is_own: bool = False) -> bool:
        """Return True if an object belongs to the requests, as far as is known of it.

        ``is_own``: it arrived over the association of a request (C-GET), where no Move Originator is due.
        """
        if (originator := _originator(incoming)) and not is_own:
            return not self._titles or originator in self._titles or originator == incoming.calling_ae_title.strip()
        return self.requests_of(incoming) > 0 or not (self._requests or self._objects)


def _definite(text: str) -> frozenset[str]:
    """Return the UIDs of a list, none if there is a wild card."""
    if "*" in text or "?" in text:
        return frozenset()
    return frozenset(uid for part in text.split("\\") if (uid := part.strip()))


def _originator(incoming: Incoming) -> str:
    return (incoming.request.move_originator_ae_title or "").strip()


class PlaceReader:
    """A receiver that forwards to another one and notes the study and series of the object.

    ``check``: called once they are known; an error that it raises refuses the object.
    """

    def __init__(
        self, incoming: Incoming, receiver: ObjectReceiver, check: Callable[[Incoming], None] = lambda _: None
    ) -> None:
        from movescu.dataset.peek import Peek  # late: few senders name no Move Originator

        self._incoming = incoming
        self._receiver = receiver
        self._check = check
        self._peek = Peek(incoming.context.transfer_syntax, (_STUDY, _SERIES))

    def write(self, *fragments: memoryview) -> None:
        """Write the next bytes of the data set."""
        for fragment in fragments:
            self._peek.feed(fragment)
        self._receiver.write(*fragments)

    def finish(self) -> None:
        """Keep the object."""
        self._incoming.place = frozenset(self._peek.uids.values())
        self._check(self._incoming)
        self._receiver.finish()

    def discard(self) -> None:
        """Discard the object."""
        self._receiver.discard()
