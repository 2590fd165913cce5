"""What may be asked of the encoding of a written data set, and what a data set says of itself.

The fields are the output options of the command line that concern the data set; how they are spelled there is
``movescu.cli``'s, what they do to the bytes ``encoder``'s.
"""

from __future__ import annotations

from enum import Enum, auto

from movescu._runtime.record import Record, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax

MAX_INFLATED: Final = 1 << 30
"""Bytes to which a deflated data set may grow on its way to a file, unless it is said otherwise."""
SINCE_1993: Final = frozenset((b"OD", b"OF", b"OL", b"OV", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs that -u does without."""


class GroupLength(Enum):
    """What becomes of group length elements, (gggg,0000), which PS3.5 7.2 retired."""

    RECALCULATE = auto()
    """Those received stay and are made right (+g=)."""
    CREATE = auto()
    """Every group of the data set and of its items has one (+g)."""
    REMOVE = auto()
    """There are none (-g)."""


class Encoding(Record):
    """How to write a data set; the default is the command's."""

    transfer_syntax: TransferSyntax | None = None
    """None leaves the one received (+t=)."""
    new_vr: bool = True
    """False writes the VRs that came after 1993 as OB (-u): OD OF OL OV SV UC UN UR UT UV."""
    group_length: GroupLength = GroupLength.RECALCULATE
    explicit_length: bool = True
    """Whether sequences and items have their length (+e) or a delimiter (-e)."""
    file_padding: int = 0
    """Bytes of which the file becomes a multiple (+p), 0 for no padding."""
    item_padding: int = 0
    """Bytes of which the content of each item becomes a multiple. If either number is odd, padding
    stays as received, and group lengths are neither created nor removed."""
    compression_level: int = 6
    """zlib's 0 to 9, for a deflated transfer syntax (+cl)."""

    @property
    def keeps_padding(self) -> bool:
        """Whether trailing padding is left as received: DCMTK's answer to a number that no padding can reach."""
        return bool(self.file_padding & 1 or self.item_padding & 1)


class Identity(Struct):
    """SOP Class UID (0008,0016) and SOP Instance UID (0008,0018) of a data set, without padding; None if absent."""

    sop_class_uid: str | None
    sop_instance_uid: str | None

    def __init__(self, sop_class_uid: str | None, sop_instance_uid: str | None) -> None:
        self.sop_class_uid = sop_class_uid
        self.sop_instance_uid = sop_instance_uid
