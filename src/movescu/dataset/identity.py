"""Identity of a data set: its SOP Class UID and SOP Instance UID (PS3.3 C.12.1).

``IdentityReader`` is the parser's handler that finds them; ``fast_path.scan`` notes them in its own walk.
"""

from __future__ import annotations

from typing import Final

from movescu.dataset.encoding import Identity
from movescu.dictionary.vr import Buffer, uid_text

CLASS_UID: Final = 0x00080016
INSTANCE_UID: Final = 0x00080018
IDENTITY: Final = frozenset((CLASS_UID, INSTANCE_UID))
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
PLACE: Final = frozenset((STUDY, SERIES))


class IdentityReader:
    """A handler that reads only the identity of a data set."""

    def __init__(self) -> None:
        self._depth = 0
        self._uids: dict[int, str] = {}

    def identity(self) -> Identity:
        """Return the UIDs found, the first of equal tags."""
        return Identity(self._uids.get(CLASS_UID), self._uids.get(INSTANCE_UID))

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Record the value of a UID."""
        if not self._depth and tag in IDENTITY:
            self._uids.setdefault(tag, uid_text(value))

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Skip a large value; a UID this long is treated as empty."""
        if not self._depth and tag in IDENTITY:
            self._uids.setdefault(tag, "")

    def part(self, data: Buffer) -> None:
        """Skip a part."""

    def end(self) -> None:
        """Skip the end of a value."""

    def begin_sequence(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """Enter a sequence."""
        self._depth += 1

    def end_sequence(self) -> None:
        """Leave a sequence."""
        self._depth -= 1

    def begin_item(self) -> None:
        """Skip an item header."""

    def end_item(self) -> None:
        """Skip the end of an item."""

    def begin_fragments(self, tag: int) -> None:
        """Skip the header of encapsulated pixel data."""

    def begin_fragment(self, length: int) -> None:
        """Skip a fragment header."""

    def end_fragments(self) -> None:
        """Skip the end of encapsulated pixel data."""
