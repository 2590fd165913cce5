"""File names of received objects: ``<prefix>.<SOP instance UID>``, as with DCMTK.

The prefix is that of the storage SOP class (``dictionary/data/storage_sop_classes.tsv``). Bytes that DCMTK allows in a
name are kept; every other byte is escaped as ``%XX``, where DCMTK writes ``_``: different UIDs have different names,
and no name leads out of its directory, because ``/`` is escaped, too. A name that would be too long for a file system
ends with a digest (``--accept-nonstandard``).
"""

from __future__ import annotations

from typing import Final

from movescu.dictionary.uids import storage_classes

UNKNOWN_PREFIX: Final = "UNKNOWN"
"""Prefix of an unknown SOP class."""

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:@_-")
_LONGEST: Final = 240  # of the 255 bytes that file systems allow
_DIGITS_AND_DOTS: Final = "0123456789."


def prefix(sop_class_uid: str) -> str:
    """Return the file name prefix of a storage SOP class."""
    known = storage_classes().get(sop_class_uid)
    return known.prefix if known else UNKNOWN_PREFIX


def file_name(sop_class_uid: str, sop_instance_uid: str) -> str:
    """Return the file name of an object; both UIDs may be any text that a peer sends."""
    if not sop_instance_uid.strip(_DIGITS_AND_DOTS):  # true of every valid UID
        return _shortened(f"{prefix(sop_class_uid)}.{sop_instance_uid}")
    escaped = "".join(c if c in _PLAIN else f"%{ord(c):02X}" for c in sop_instance_uid)
    return _shortened(f"{prefix(sop_class_uid)}.{escaped}")


def _shortened(name: str) -> str:
    """Return a name that file systems take: of a longer one its beginning, and a digest of the whole behind ``~``."""
    if len(name) <= _LONGEST:
        return name
    from hashlib import sha256  # late: no valid UID is that long

    return f"{name[: _LONGEST - 65]}~{sha256(name.encode()).hexdigest()}"
