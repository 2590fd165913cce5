"""File names of received objects: ``<prefix>.<SOP instance UID>``, as DCMTK names them.

The prefix is that of the storage SOP class (``dictionary/data/storage_sop_classes.tsv``). What DCMTK's names may
contain is kept; every other byte is written as ``%XX``, where DCMTK writes ``_`` for all of them: names that differ
stay different, and no name leaves its directory, for ``/`` is one of the bytes so written.
"""

from __future__ import annotations

from typing import Final

from movescu.dictionary.uids import storage_classes

UNKNOWN_PREFIX: Final = "UNKNOWN"
"""For objects of a class that no table has."""

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:@_-")
_DIGITS_AND_DOTS: Final = "0123456789."


def prefix(sop_class_uid: str) -> str:
    """Return the prefix of a storage SOP class."""
    known = storage_classes().get(sop_class_uid)
    return known.prefix if known else UNKNOWN_PREFIX


def file_name(sop_class_uid: str, sop_instance_uid: str) -> str:
    """Name the file of an object; both UIDs may be anything that a peer sends."""
    if not sop_instance_uid.strip(_DIGITS_AND_DOTS):  # every valid UID goes this way
        return f"{prefix(sop_class_uid)}.{sop_instance_uid}"
    escaped = (c if c in _PLAIN else f"%{ord(c):02X}" for c in sop_instance_uid)
    return f"{prefix(sop_class_uid)}.{''.join(escaped)}"
