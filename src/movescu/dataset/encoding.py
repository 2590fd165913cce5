"""Options for the encoding of a written data set (PS3.5 section 7, annex A), and its identity.

The fields correspond to the output options of the command line that concern the data set. ``encoder`` implements
them; ``movescu.cli`` defines their spelling.
"""

from __future__ import annotations

from enum import Enum, auto

from movescu._runtime.record import Record, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax

MAX_INFLATED: Final = 1 << 30
"""Bytes. Default maximum to which a deflated data set may inflate on its way to a file."""
META_GROUPS: Final = frozenset((0x0000, 0x0002))
"""Groups of command sets and file meta information, which no data set may have (PS3.5 7.1)."""
NO_PIXELS: Final = tuple(b"\xe0\x7f\x10\x00" + rest for rest in (b"OW" + bytes(6), b"OB" + bytes(6), bytes(4)))
"""Last bytes of a small data set with empty pixel data, in little endian."""
SINCE_1993: Final = frozenset((b"OD", b"OF", b"OL", b"OV", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs added to PS3.5 since 1993, which -u avoids."""


class GroupLength(Enum):
    """Treatment of group length elements (gggg,0000), which PS3.5 7.2 retired."""

    RECALCULATE = auto()
    """Keep the received ones, with corrected values (+g=)."""
    CREATE = auto()
    """Write one for every group of the data set and of its items (+g)."""
    REMOVE = auto()
    """Write none (-g)."""


class Encoding(Record):
    """Encoding of a written data set; the defaults are those of the command."""

    transfer_syntax: TransferSyntax | None = None
    """Default: None, which keeps the one received (+t=)."""
    new_vr: bool = True
    """Default: True. False writes the VRs added since 1993 as OB (-u): OD OF OL OV SV UC UN UR UT UV."""
    group_length: GroupLength = GroupLength.RECALCULATE
    explicit_length: bool = True
    """Default: True. Whether sequences and items have explicit length (+e) or undefined length (-e)."""
    file_padding: int = 0
    """Bytes. Default: 0. The file is padded to a multiple of this number (+p); 0 for no padding."""
    item_padding: int = 0
    """Bytes. Default: 0. The content of each item is padded to a multiple of this number. If this or ``file_padding``
    is odd, padding stays as received, and group lengths are neither created nor removed."""
    compression_level: int = 6
    """Level of zlib, 0 to 9. Default: 6. For a deflated transfer syntax (+cl)."""

    @property
    def keeps_padding(self) -> bool:
        """Whether trailing padding stays as received, as in DCMTK if a padding is odd and thus unreachable."""
        return bool(self.file_padding & 1 or self.item_padding & 1)


class Identity(Struct):
    """SOP Class UID (0008,0016) and SOP Instance UID (0008,0018) of a data set, without padding; None if absent."""

    sop_class_uid: str | None
    sop_instance_uid: str | None

    def __init__(self, sop_class_uid: str | None, sop_instance_uid: str | None) -> None:
        self.sop_class_uid = sop_class_uid
        self.sop_instance_uid = sop_instance_uid
