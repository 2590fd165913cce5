"""What a data set says that it is: SOP Class UID and SOP Instance UID (PS3.3 C.12.1), which every walk notes.

``IdentityReader`` finds them on the slow way, as a handler of the parser; the fast one is ``scan``'s.
"""

from __future__ import annotations

from typing import Final

from movescu.dataset.encoding import Identity
from movescu.dictionary.vr import Buffer, uid_text

CLASS_UID: Final = 0x00080016
INSTANCE_UID: Final = 0x00080018
IDENTITY: Final = frozenset((CLASS_UID, INSTANCE_UID))


class IdentityReader:
    """A handler that takes nothing from a data set but its identity."""

    def __init__(self) -> None:
        self._depth = 0
        self._uids: dict[int, str] = {}

    def identity(self) -> Identity:
        """Return what was found, the first of equal tags."""
        return Identity(self._uids.get(CLASS_UID), self._uids.get(INSTANCE_UID))

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Take an element."""
        if not self._depth and tag in IDENTITY:
            self._uids.setdefault(tag, uid_text(value))

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Pass over a large value; a UID it cannot be."""
        if not self._depth and tag in IDENTITY:
            self._uids.setdefault(tag, "")

    def part(self, data: Buffer) -> None:
        """Pass over a part."""

    def end(self) -> None:
        """Pass over an end."""

    def begin_sequence(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """Go down."""
        self._depth += 1

    def end_sequence(self) -> None:
        """Go up."""
        self._depth -= 1

    def begin_item(self) -> None:
        """Pass over an item header."""

    def end_item(self) -> None:
        """Pass over an item's end."""

    def begin_fragments(self, tag: int) -> None:
        """Pass over the header of encapsulated pixel data."""

    def begin_fragment(self, length: int) -> None:
        """Pass over a fragment header."""

    def end_fragments(self) -> None:
        """Pass over the end of encapsulated pixel data."""
