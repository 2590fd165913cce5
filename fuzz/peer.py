"""Fuzz targets for the input of a peer: PDUs, conversations, command sets and data sets.

Each target requires more than "no exception but ours": a decoded value is the same after encoding and decoding again;
the fast path of the association gives the same as table 9-10; the split of the bytes does not matter; and ``scan``
accepts only what ``recode`` leaves as it is. The first bytes of an input choose options; the rest is the peer's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, Final, NamedTuple
from unittest.mock import patch
from urllib.parse import unquote

from wire import Plain, feed, machines, plain, request

from movescu._runtime.record import replace
from movescu.dataset.data_set_text import data_set_text
from movescu.dataset.encoding import Encoding, GroupLength
from movescu.dataset.fast_path.scanner import adapted, adapted_head
from movescu.dataset.transcoder import MemorySink, Recoder, recode, scan, values_of
from movescu.dictionary.uids import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    MAXIMUM_UID_LENGTH,
    TRANSFER_SYNTAXES,
)
from movescu.dimse.command_templates import CommandReader, encode_success
from movescu.dimse.message_text import message_text
from movescu.dimse.messages import CStoreRQ, CStoreRSP, decode_command, encode_command
from movescu.errors import DataSetError, ProtocolError
from movescu.storage.file_names import file_name
from movescu.ul.association import Association
from movescu.ul.negotiation import AcceptorPolicy, agreed, answer, rejected_classes
from movescu.ul.pdu import HEADER_LENGTH, AssociateAC, AssociateRJ, AssociateRQ, decode_pdu
from movescu.ul.pdu_text import association_text, bytes_of
from movescu.ul.state_table import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.dataset.encoding import Identity
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dimse.messages import Message

ARTIM: Final = 30.0
SMALL_PARTS: Final = patch("movescu.ul.association.PART", 24)
"""Makes the parts of fragments so small that inputs, which are shorter than 32 KiB, have several."""
BETWEEN: Final = b"\n----\n"
"""Separates two command sets."""

# -- PS3.8 -----------------------------------------------------------------------------------------------------------


def pdu(data: bytes) -> None:
    """Decode a PDU: its type, then its body."""
    decoded = decode_pdu(data[0] if data else 0, data[1:])
    assert decode_pdu(decoded.pdu_type, decoded.encode()[HEADER_LENGTH:]) == decoded
    if isinstance(decoded, AssociateRQ | AssociateAC | AssociateRJ):
        association_text("title", decoded)
        bytes_of(decoded)


def _requestor() -> Association:
    machine = Association(maximum_length=4096)
    machine.associate_request(request())
    machine.transport_connected(0.0)
    machine.data_to_send()
    return machine


def _acceptor() -> Association:
    machine = Association(maximum_length=4096)
    machine.transport_connected(0.0)
    return machine


def _established(side: int, *, releasing: bool = False) -> Association:
    machine = machines(4096)[side]
    if releasing:
        machine.release_request()
        machine.data_to_send()
    return machine


STARTS: Final[tuple[Callable[[], Association], ...]] = (
    _requestor,
    _acceptor,
    lambda: _established(0),
    lambda: _established(1),
    lambda: _established(0, releasing=True),
    lambda: _established(1, releasing=True),
)
"""What a machine may be waiting for when the bytes come; the first byte of an input chooses."""


def association(data: bytes) -> None:
    """Converse with a peer: where to start, three sizes of pieces, then its bytes."""
    start, sizes, stream = STARTS[(data[0] if data else 0) % len(STARTS)], data[1:4], data[4:]
    with SMALL_PARTS:
        _require_equal(_answering(start(), stream, sizes), _answering(_through_the_table(start()), stream, sizes))
        _require_equal(_silent(start(), _pieces(stream, sizes)), _silent(start(), [stream]))


def _through_the_table(machine: Association) -> Association:
    machine._take_p_data = lambda: None  # type: ignore[method-assign] # noqa: SLF001 - the fast path, taken away
    return machine


def _pieces(stream: bytes, sizes: bytes) -> Iterator[bytes]:
    position = 0
    for size in cycle(sizes or b"\0"):
        if position >= len(stream):
            return
        yield stream[position : position + (size or len(stream))]
        position += size or len(stream)


class Course(NamedTuple):
    """An association that was fed, its indications, and its visible states on the way."""

    machine: Association
    indications: list[Plain]
    seen: list[object]


def _silent(machine: Association, pieces: Iterator[bytes] | list[bytes]) -> Course:
    """Feed an association whose own side makes no requests or responses."""
    return Course(machine, [indication for piece in pieces for indication in feed(machine, piece)], [])


def _answering(machine: Association, stream: bytes, sizes: bytes) -> Course:
    """Feed an association whose own side answers as the program does."""
    course = Course(machine, [], [])
    for piece in _pieces(stream, sizes):
        for indication in feed(machine, piece):
            course.indications.append(indication)
            _respond(machine, indication)
        course.seen.extend((machine.data_to_send(), *_seen(machine)))
    return course


def _require_equal(one: Course, other: Course) -> None:
    """Compare two courses, after completing a fragment that was handed out in part."""
    missing = bytes(max(_missing(one.machine), _missing(other.machine)))
    assert _ended(one, missing) == _ended(other, missing)


def _ended(course: Course, missing: bytes) -> list[object]:
    """Return everything visible, up to the end of the connection."""
    machine, indications, seen = course
    indications += feed(machine, missing)
    if machine.artim_deadline is not None:
        assert machine.artim_deadline == ARTIM
        indications += map(plain, machine.artim_expired(ARTIM))
    indications += map(plain, machine.transport_closed(ARTIM))
    return [_joined(indications), *seen, machine.data_to_send(), *_seen(machine)]


def _seen(machine: Association) -> tuple[object, ...]:
    return machine.state, machine.closed, machine.contexts, machine.artim_deadline


def _missing(machine: Association) -> int:
    """Return the number of bytes missing of a fragment that was handed out in part."""
    return max(machine._rest - (machine._end - machine._start), 0)  # noqa: SLF001 - seen from outside by nobody


def _joined(indications: list[Plain]) -> list[Plain]:
    """Join consecutive fragments of a data set: how they are cut has no meaning."""
    result: list[Plain] = []
    for name, *fields in indications:
        before = result[-1] if result else ("",)
        if name == before[0] == "Fragment" and fields[:2] in ([before[1], 0], [before[1], 2]) and before[2] == 0:
            assert isinstance(before[3], bytes)
            assert isinstance(fields[2], bytes)
            result[-1] = (name, *fields[:2], before[3] + fields[2])
        else:
            result.append((name, *fields))
    return result


def _respond(machine: Association, indication: Plain) -> None:
    pdu = indication[1] if len(indication) > 1 else None
    try:
        if isinstance(pdu, AssociateRQ) and machine.state is State.STA3:
            accepted = answer(pdu, AcceptorPolicy(lambda _: True, tuple(TRANSFER_SYNTAXES.values()), 4096))
            agreed(pdu, accepted)
            machine.associate_accept(accepted)
        elif isinstance(pdu, AssociateAC) and machine.state is State.STA6:
            rejected_classes(request(), pdu)
            agreed(request(), pdu)
    except ProtocolError as error:
        machine.abort_request(0.0, error)
    if indication[0] == "ReleaseIndication" and machine.state in (State.STA8, State.STA9, State.STA12):
        machine.release_response(0.0)


# -- PS3.7 -----------------------------------------------------------------------------------------------------------


def command(data: bytes) -> None:
    """Decode command sets, as a sequence from one peer, and name the files of the objects that they announce."""
    reader = CommandReader()
    for each in data.split(BETWEEN):
        message = _decoded(decode_command, each)
        assert _decoded(reader.decode, each) == message
        if message is not None:
            _check_command(message)


def _decoded(decode: Callable[[bytes], Message], data: bytes) -> Message | None:
    try:
        return decode(data)
    except ProtocolError:
        return None


def _check_command(message: Message) -> None:
    message_text("title", message)
    if isinstance(message, CStoreRQ):
        uids = message.affected_sop_class_uid, message.affected_sop_instance_uid
        assert encode_success(message) == encode_command(CStoreRSP(message.message_id, 0, *uids))
        if len(message.affected_sop_instance_uid) <= MAXIMUM_UID_LENGTH:
            _check_name(message)
    once = decode_command(encode_command(message))  # empty elements are absent from here on
    assert decode_command(encode_command(once)) == once


def _check_name(message: CStoreRQ) -> None:
    """Require that a file name stays in its directory, and that different UIDs give different names."""
    name = file_name(message.affected_sop_class_uid, message.affected_sop_instance_uid)
    assert re.fullmatch(r"[A-Za-z0-9]+\.[A-Za-z0-9.:@_%-]+", name)
    assert len(name) <= 255
    assert unquote(name.partition(".")[2], "latin-1") == message.affected_sop_instance_uid


# -- PS3.5 -----------------------------------------------------------------------------------------------------------

SYNTAXES: Final = (
    IMPLICIT_LITTLE,
    EXPLICIT_LITTLE,
    EXPLICIT_BIG,
    DEFLATED_LITTLE,
    TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"],
)
PADDINGS: Final = ((0, 0), (0, 0), (128, 16), (512, 7))
HEAD: Final = 5


def options(head: bytes) -> tuple[TransferSyntax, Encoding]:
    """Return the options of an input's first bytes: transfer syntax received, transfer syntax wanted or None, flags."""
    source, target, flags, *_ = head.ljust(HEAD, b"\0")
    wanted = (None, *SYNTAXES)[target % (len(SYNTAXES) + 1)]
    file_padding, item_padding = PADDINGS[flags >> 4 & 3]
    return SYNTAXES[source % len(SYNTAXES)], Encoding(
        transfer_syntax=wanted,
        new_vr=not flags & 1,
        explicit_length=not flags & 2,
        group_length=(*GroupLength, GroupLength.RECALCULATE)[flags >> 2 & 3],
        file_padding=file_padding,
        item_padding=item_padding,
    )


def data_set(data: bytes) -> None:
    """Scan and recode a data set, whole and in pieces, and recode the result once more."""
    (syntax, encoding), sizes, body = options(data[:HEAD]), data[3:HEAD], data[HEAD:]
    data_set_text("title", body, syntax)
    with suppress(DataSetError):
        values_of(body, syntax)
    kept = adapted(body, syntax, encoding)
    try:
        result = recode(body, syntax, encoding)
    except DataSetError:
        assert kept is None, "scan accepts a data set that cannot be read"
        assert adapted_head(body, syntax, encoding) is None or _goes_on(body, syntax, encoding)
        raise
    identity = _in_pieces(body, sizes, syntax, encoding, result)
    assert kept is None or kept[:2] == (identity, result), "scan and recode give different bytes"
    assert scan(body, syntax, encoding) == (identity, kept is not None and kept.data is body)
    _check_head(body, sizes, syntax, encoding, result)
    _check_again(result, syntax, encoding)


def _goes_on(body: bytes, syntax: TransferSyntax, encoding: Encoding) -> bool:
    head = adapted_head(body, syntax, encoding)
    return head is not None and head.missing > 0


def _in_pieces(body: bytes, sizes: bytes, syntax: TransferSyntax, encoding: Encoding, expected: bytes) -> Identity:
    sink = MemorySink()
    recoder = Recoder(syntax, encoding, sink, spool=MemorySink)
    for piece in _pieces(body, sizes):
        recoder.feed(memoryview(piece))
    identity = recoder.finish()
    assert sink.data == expected, "the split changes the bytes"
    return identity


def _check_head(body: bytes, sizes: bytes, syntax: TransferSyntax, encoding: Encoding, result: bytes) -> None:
    """Require that a head that is written early is the start of the whole result."""
    for end in {len(body) - sizes[0], len(body) - sum(sizes), len(body) * 3 // 4} if sizes else ():
        head = adapted_head(body[: max(end, 0)], syntax, encoding)
        if head is not None and head.missing == len(body) - end:
            assert bytes(head.data) + body[end:] == result, "scan and recode give different heads"


def _check_again(result: bytes, syntax: TransferSyntax, encoding: Encoding) -> None:
    """Require that recoding the result leaves it as it is."""
    target = encoding.transfer_syntax or syntax
    encoding = replace(encoding, transfer_syntax=None)
    if not result:
        return  # there were group lengths only, which were removed
    again = recode(result, target, encoding)
    # In implicit VR a private creator that stood behind its elements now stands before them, and tells their VR.
    assert again == result or (target.implicit and recode(again, target, encoding) == again), "recode does not settle"
