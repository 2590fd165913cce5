"""Objects to deliver to a receiver: the made corpus of ``encoded`` and the files that pydicom carries."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

import encoded
import pydicom.data
from delivery import Delivered
from pairwise import pairwise

from movescu.dataset.encoding import Encoding
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.transcoder import scan
from movescu.dictionary.uids import TRANSFER_SYNTAXES
from movescu.errors import DataSetError

UNCOMPRESSED = frozenset((encoded.ELE, encoded.ILE, encoded.EBE, encoded.DEFLATED))

_AXES = (
    ((), ("+te",), ("+tb",), ("+ti",), ("+td",)),
    ((), ("-u",)),
    ((), ("+g",), ("-g",)),
    ((), ("-e",)),
    ((), ("+p", "128", "16"), ("+p", "0", "6"), ("+p", "512", "0")),
)


def pairwise_options() -> list[tuple[str, ...]]:
    """Give combinations of the output options in which every two meet; the default is first."""
    return [tuple(option for choice in row for option in choice) for row in pairwise(_AXES)]


@cache
def made() -> list[Delivered]:
    """Give every object of ``encoded`` that can be stored, each with a SOP instance UID of its own."""
    result = []
    for number, (name, (syntax, data)) in enumerate(encoded.objects().items()):
        uid = f"1.{10001 + number}"  # as long as the one it takes the place of
        own = data.replace(encoded.INSTANCE_UID.encode(), uid.encode(), 1)
        if syntax == encoded.DEFLATED:
            plain = zlib.decompress(data, -15).replace(encoded.INSTANCE_UID.encode(), uid.encode(), 1)
            own = encoded.deflate(plain, 3)
        if syntax == encoded.DEFLATED:
            own += b"\0" * (len(own) & 1)  # PS3.5 A.5
        if len(own) % 2 == 0 and _storable(own, syntax, uid):  # of odd lengths DCMTK aborts the association
            result.append(Delivered(name, encoded.CLASS_UID, uid, syntax, own))
    return result


def _storable(data: bytes, syntax: str, uid: str) -> bool:
    try:
        identity, _ = scan(data, TRANSFER_SYNTAXES[syntax], Encoding())
    except DataSetError:
        return False
    return (identity.sop_class_uid, identity.sop_instance_uid) == (encoded.CLASS_UID, uid)


@cache
def bundled() -> list[Delivered]:
    """Give the data sets of pydicom's files, as they stand in them; of equal SOP instance UIDs the first."""
    result: dict[str, Delivered] = {}
    for path in sorted(Path(pydicom.data.__file__).parent.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        try:
            meta = decode_file_meta(data)
        except DataSetError:
            continue
        if meta is None or meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            continue
        body = data[meta.length :]
        try:
            identity, _ = scan(body, TRANSFER_SYNTAXES[meta.transfer_syntax_uid], Encoding())
        except DataSetError:
            continue
        class_uid, instance_uid = identity.sop_class_uid, identity.sop_instance_uid
        if class_uid and instance_uid and instance_uid not in result and len(body) % 2 == 0:
            thing = Delivered(path.name, class_uid, instance_uid, meta.transfer_syntax_uid, body)
            result[instance_uid] = thing
    return list(result.values())
