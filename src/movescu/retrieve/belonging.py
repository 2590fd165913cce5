"""What belongs to a request: the objects that make up for those that the archive counts (PS3.7 9.1.1.1.6).

An object belongs to the requests of an attempt if its Move Originator is one of our titles, or the sender itself, which
some archives name whoever requested; and, without a Move Originator, if its study or series was requested. Patient ID
decides nothing, as archives coerce it. An object that does not belong is stored all the same: it makes up for nothing.
"""

from __future__ import annotations

from movescu.query.levels import UNIQUE_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.storage.incoming_object import Incoming, ObjectReceiver

_STUDY: Final = UNIQUE_KEYS["STUDY"]
_SERIES: Final = UNIQUE_KEYS["SERIES"]


class Belonging:
    """What belongs to the requests of an attempt. ``titles``: that a Move Originator may have. Default: any."""

    def __init__(self, titles: frozenset[str] = frozenset()) -> None:
        self._titles = titles
        self._places: frozenset[str] | None = frozenset()
        """Study and Series Instance UIDs of the requests; None if one of them names neither."""

    def add(self, request: Identifier) -> None:
        """Add the study or series that a request names."""
        named = request.text(_SERIES) or request.text(_STUDY)
        uids = frozenset(uid for part in named.split("\\") if (uid := part.strip()))
        definite = uids and not any(mark in named for mark in "*?")
        self._places = self._places | uids if definite and self._places is not None else None

    def depends_on_place(self, incoming: Incoming) -> bool:
        """Return True if an object's study and series decide whether it belongs."""
        return bool(self._places) and not _originator(incoming)

    def has(self, incoming: Incoming) -> bool:
        """Return True if an object belongs to the requests, as far as is known of it."""
        if originator := _originator(incoming):
            return not self._titles or originator in self._titles or originator == incoming.calling_ae_title.strip()
        return not (self._places and incoming.place) or not self._places.isdisjoint(incoming.place)


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
