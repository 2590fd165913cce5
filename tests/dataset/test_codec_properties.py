"""Properties of the codec for every data set, and its safety for arbitrary bytes."""

from __future__ import annotations

import io
import itertools
import random
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import encoded
import pytest
from effort import examples
from encoded import BIG, IMPLICIT, LITTLE, REQUEST, Layout, Node, encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset

from movescu._runtime.record import replace
from movescu.dataset.fast_path.scanner import adapted, adapted_head
from movescu.dataset.head import companions, find, texts
from movescu.dataset.identity import IDENTITY
from movescu.dataset.transcoder import Encoding, GroupLength, Identity, MemorySink, Recoder, recode, scan
from movescu.dictionary import uids
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from movescu.dictionary.vr import Buffer

SYNTAXES = {LITTLE: uids.EXPLICIT_LITTLE, BIG: uids.EXPLICIT_BIG, IMPLICIT: uids.IMPLICIT_LITTLE}
LEAVES = {
    0x00080060: "CS",
    0x00080016: "UI",
    0x00080018: "UI",
    0x00080020: "DA",
    0x00080119: "UC",
    0x00080120: "UR",
    0x00100010: "PN",
    0x00101010: "AS",
    0x00104000: "LT",
    0x0018106A: "CS",
    0x00186020: "SL",
    0x00189073: "FD",
    0x00189087: "FD",
    0x00200013: "IS",
    0x00280009: "AT",
    0x00280010: "US",
    0x00280011: "US",
    0x00420011: "OB",
    0x00660016: "OF",
    0x00660023: "OW",
    0x00660040: "OL",
    0x00660022: "OD",
    0x00720081: "OV",
    0x00720082: "SV",
    0x0008040C: "UV",
    0x00991001: "UN",
    0x40100001: "CS",
    0x60003000: "OW",
    0x7FE00010: "OW",
}
BRANCHES = (0x00081140, REQUEST, 0x0040A730, 0x52009230)


def canonical(vr: str, data: bytes) -> bytes:
    """Turn arbitrary bytes into a value that no rule has to change."""
    if vr == "UI":
        data = bytes(b"0123456789."[b % 11] for b in data)
        return data + b"\0" * (len(data) & 1)
    if vr in encoded.UNITS:
        return data[: len(data) // 8 * 8]
    if vr in {"OB", "UN"}:
        return data[: len(data) // 2 * 2]
    data = bytes(32 + b % 95 for b in data).rstrip(b" ")
    return data + b" " * (len(data) & 1)


def data_sets(depth: int = 3) -> st.SearchStrategy[list[Node]]:
    """Return a strategy for canonical data sets: tags in order, each once."""
    values = st.dictionaries(st.sampled_from(sorted(LEAVES)), st.binary(max_size=40), max_size=8)
    if depth:
        branches = st.dictionaries(st.sampled_from(BRANCHES), st.lists(data_sets(depth - 1), max_size=3), max_size=2)
    else:
        branches = st.just({})

    def build(leaves: dict[int, bytes], sequences: dict[int, list[list[Node]]]) -> list[Node]:
        nodes = [Node(tag, LEAVES[tag], canonical(LEAVES[tag], data)) for tag, data in leaves.items()]
        return sorted([*nodes, *(Node(tag, "SQ", items) for tag, items in sequences.items())])

    return st.builds(build, values, branches)


layouts = st.sampled_from(sorted(SYNTAXES)).flatmap(
    lambda layout: st.booleans().map(lambda undefined: layout._replace(undefined=undefined))
)


def syntax_of(layout: Layout) -> uids.TransferSyntax:
    return SYNTAXES[layout._replace(undefined=False)]


@given(data_sets().filter(bool), layouts, layouts)
def test_recode_returns_the_canonical_bytes_of_the_target_for_any_source(
    nodes: list[Node], source: Layout, target: Layout
) -> None:
    encoding = Encoding(syntax_of(target), explicit_length=not target.undefined)
    there = recode(encode(nodes, source), syntax_of(source), encoding)
    assert there == encode(nodes, target)
    back = recode(there, syntax_of(target), Encoding(syntax_of(source), explicit_length=not source.undefined))
    assert back == encode(nodes, source)


@given(data_sets().filter(bool), layouts, st.integers(0, 9))
def test_deflating_loses_nothing(nodes: list[Node], source: Layout, level: int) -> None:
    encoding = Encoding(uids.DEFLATED_LITTLE, compression_level=level)
    deflated = recode(encode(nodes, source), syntax_of(source), encoding)
    assert zlib.decompress(deflated, -15) == encode(nodes)
    assert recode(deflated + b"\0", uids.DEFLATED_LITTLE, Encoding(uids.EXPLICIT_BIG)) == encode(nodes, BIG)


@given(data_sets().filter(bool), layouts)
def test_canonical_object_is_unchanged_and_identified(nodes: list[Node], layout: Layout) -> None:
    identity, unchanged = scan(encode(nodes, layout), syntax_of(layout), Encoding(explicit_length=not layout.undefined))
    values = {
        node.tag: node.value.rstrip(b"\0").decode()
        for node in nodes
        if isinstance(node.value, bytes) and node.vr == "UI"
    }
    assert unchanged
    assert identity == Identity(values.get(0x00080016), values.get(0x00080018))


@given(data_sets().filter(bool), layouts)
def test_object_that_differs_only_in_sequence_lengths_is_not_decoded(nodes: list[Node], layout: Layout) -> None:
    """Most archives send sequences of undefined length; decoding each of their objects would cost ten times as much."""
    other = layout._replace(undefined=not layout.undefined)
    for wanted in (layout, other):
        found = adapted(encode(nodes, other), syntax_of(layout), Encoding(explicit_length=not wanted.undefined))
        assert found is not None
        assert bytes(found.data) == encode(nodes, wanted)


@pytest.mark.parametrize("vr", ["LO", "OB", "UN", "US"])
@pytest.mark.parametrize("missing", [0x00080016, 0x00080018])
def test_uid_is_found_in_any_vr(missing: int, vr: str) -> None:
    """``adapted`` only finds UIDs in UI: small objects with another VR were once refused, large ones not."""
    nodes = [node._replace(vr=vr) if node.tag == missing else node for node in encoded.IDENTITY]
    data = encode([*nodes, encoded.NAME])
    identity, _ = scan(data, uids.EXPLICIT_LITTLE, Encoding())
    assert identity == Identity(encoded.CLASS_UID, encoded.INSTANCE_UID)
    assert recode(data, uids.EXPLICIT_LITTLE, Encoding())


def seen_by_pydicom(data_set: Dataset, *, implicit: bool) -> list[object]:
    """Return nested tags, VRs and raw values; pydicom keeps no raw form of an empty value."""
    result: list[object] = []
    for tag in sorted(data_set.keys()):
        if tag in BRANCHES:
            result.append((int(tag), "SQ", [seen_by_pydicom(i, implicit=implicit) for i in data_set[tag].value]))
            continue
        element = data_set.get_item(tag)
        value = (element.value or b"") if isinstance(element, RawDataElement) else b""
        result.append((int(tag), None if implicit else element.VR, value))
    return result


def described(nodes: list[Node], layout: Layout) -> list[object]:
    return [
        (
            node.tag,
            "SQ" if node.vr == "SQ" else None if layout.implicit else node.vr,
            encoded.swapped(node.value, encoded.UNITS.get(node.vr, 1) if layout.big else 1)
            if isinstance(node.value, bytes)
            else [described(item, layout) for item in node.value],
        )
        for node in nodes
    ]


@given(data_sets().filter(bool), layouts, layouts)
def test_recoded_object_is_read_by_pydicom_with_the_same_values(
    nodes: list[Node], source: Layout, target: Layout
) -> None:
    encoding = Encoding(syntax_of(target), explicit_length=not target.undefined)
    written = recode(encode(nodes, source), syntax_of(source), encoding)
    read = read_dataset(io.BytesIO(written), target.implicit, not target.big)
    assert seen_by_pydicom(read, implicit=target.implicit) == described(nodes, target)


sloppy_values = st.sampled_from(
    [b"", b" ", b"ab", b"ab  ", b"abc", b"abc ", b"1.2\0", b"1 2\0", b"1.2\0\0\0", b"a" * 8]
)
sloppy_leaves = (
    st.builds(lambda tag, value: (tag, LEAVES[tag], value), st.sampled_from(sorted(LEAVES)), sloppy_values)
    | st.builds(
        lambda group, value: (group << 16, "UL", value),
        st.sampled_from((0x08, 0x10, 0x40)),
        st.sampled_from([bytes(4), b"\x0a\0\0\0", b"\x12\0\0\0", b"ab"]),
    )
    | st.just((0xFFFCFFFC, "OB", bytes(4)))
)
sloppy = st.recursive(
    sloppy_leaves,
    lambda inner: st.builds(
        lambda tag, items: (tag, "SQ", [list(i) for i in items]),
        st.sampled_from(BRANCHES),
        st.lists(st.lists(inner, max_size=3), max_size=2),
    ),
    max_leaves=8,
)


def as_nodes(rows: list[tuple[int, str, object]]) -> list[Node]:
    return [
        Node(tag, vr, value if isinstance(value, bytes) else [as_nodes(i) for i in value])  # type: ignore[attr-defined]
        for tag, vr, value in rows
    ]


ENCODINGS = [
    Encoding(new_vr=new_vr, group_length=group_length, explicit_length=explicit)
    for new_vr, group_length, explicit in itertools.product(
        (True, False), (GroupLength.RECALCULATE, GroupLength.REMOVE), (True, False)
    )
]


@given(st.lists(sloppy, min_size=1, max_size=6), layouts, st.sampled_from(ENCODINGS), st.booleans())
@settings(max_examples=examples(400))
def test_object_is_unchanged_if_and_only_if_recoding_does_not_change_it(
    rows: list[tuple[int, str, object]],
    layout: Layout,
    encoding: Encoding,
    in_order: bool,  # drawn
) -> None:
    nodes = as_nodes(rows)
    data = encode(sorted({node.tag: node for node in nodes}.values()) if in_order else nodes, layout)
    assert scan(data, syntax_of(layout), encoding)[1] == (recode(data, syntax_of(layout), encoding) == data)


def outcome(data: bytes, syntax: uids.TransferSyntax, encoding: Encoding, sizes: list[int]) -> bytes | None:
    sink = MemorySink()
    recoder = Recoder(syntax, encoding, sink, spool=MemorySink)
    position = 0
    try:
        for size in itertools.cycle(sizes):
            if position >= len(data):
                break
            recoder.feed(memoryview(data)[position : position + size])
            position += size
        recoder.finish()
    except DataSetError:
        return None
    return bytes(sink.data)


SMALL_OBJECTS = sorted((s, d) for s, d in encoded.objects().values() if len(d) < 2000)
all_encodings = st.builds(
    Encoding,
    st.sampled_from([None, uids.EXPLICIT_LITTLE, uids.EXPLICIT_BIG, uids.IMPLICIT_LITTLE, uids.DEFLATED_LITTLE]),
    new_vr=st.booleans(),
    group_length=st.sampled_from(GroupLength),
    explicit_length=st.booleans(),
    file_padding=st.sampled_from([0, 3, 16]),
    item_padding=st.sampled_from([0, 16]),
)


def mutated(data: bytes, seed: int) -> bytes:
    """Change, delete, insert, repeat or truncate bytes, preferably lengths and tags."""
    source, result = random.Random(seed), bytearray(data)
    for _ in range(source.randint(1, 4)):
        at, size = source.randrange(len(result) + 1), source.choice((1, 2, 4, 8))
        match source.randrange(5):
            case 0:
                result[at : at + 1] = bytes([source.choice((0, 1, 8, 0x20, 0xFE, 0xFF, source.randrange(256)))])
            case 1:
                del result[at : at + size]
            case 2:
                result[at:at] = source.choice(
                    (b"\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", source.randbytes(size))
                )
            case 3:
                other = source.randrange(len(result) + 1)
                result[other : other + size] = result[at : at + size]
            case _:
                result = result[: max(at, len(result) // 2)]
    return bytes(result)


broken = st.builds(
    lambda choice, seed: (choice[0], mutated(choice[1], seed)), st.sampled_from(SMALL_OBJECTS), st.integers(0, 2**32)
) | st.tuples(st.sampled_from(sorted(uids.TRANSFER_SYNTAXES)), st.binary(max_size=200))


@pytest.mark.row("CVE-2025-14607")
@given(broken, all_encodings, st.lists(st.integers(1, 50), min_size=1, max_size=5))
@settings(max_examples=examples(600), suppress_health_check=[HealthCheck.too_slow])
def test_malformed_bytes_raise_only_data_set_errors_in_chunks_of_any_size(
    found: tuple[str, bytes], encoding: Encoding, sizes: list[int]
) -> None:
    syntax, data = uids.TRANSFER_SYNTAXES[found[0]], found[1]
    whole = outcome(data, syntax, encoding, [max(1, len(data))])
    assert outcome(data, syntax, encoding, sizes) == whole
    try:
        unchanged = scan(data, syntax, encoding)[1]
    except DataSetError:
        assert whole is None
    else:
        assert not unchanged or whole == data
    quickly = adapted(data, syntax, encoding)
    assert quickly is None or quickly.data == whole
    if whole is not None and not encoding.file_padding and not encoding.item_padding:
        as_it_is = replace(encoding, transfer_syntax=None)
        assert recode(whole, encoding.transfer_syntax or syntax, as_it_is) == whole, "written twice, it is another file"


def read_back(data: Buffer, syntax: uids.TransferSyntax, tags: frozenset[int]) -> dict[int, str]:
    found = find(lambda position, size: bytes(data[position : position + size]), syntax, companions(tags))
    return texts(found, tags, big=syntax.big_endian)


def told(values: dict[int, str]) -> dict[int, str]:
    """Return the values that are not empty: in names, empty and missing are the same."""
    return {tag: value for tag, value in values.items() if value}


# Tags of which the VR or the value depends on other elements, and some others.
wanted = sorted({*LEAVES, 0x00080005, 0x00100020, 0x00189810, 0x00280106, 0x00280107, 0x00280120, 0x00400555, REQUEST})
canonical_objects = st.builds(lambda nodes, made: (syntax_of(made).uid, encode(nodes, made)), data_sets(), layouts)
NO_TEXT = (uids.IMPLICIT_LITTLE.uid, encode([Node(REQUEST, "SQ", [[]])], IMPLICIT))
UNDEFINED_LENGTHS = (
    uids.EXPLICIT_LITTLE.uid,
    encode([Node(0x00080005, "CS", b"ISO_IR 100"), Node(REQUEST, "SQ", [[]])], LITTLE._replace(undefined=True)),
)
SIGNED = (uids.IMPLICIT_LITTLE.uid, encoded.objects()["pixel representation 1"][1])


@given(canonical_objects | broken, st.frozensets(st.sampled_from(wanted), min_size=1), st.sampled_from(ENCODINGS))
@example(SIGNED, frozenset(wanted), Encoding())
@example(NO_TEXT, frozenset({REQUEST}), Encoding())
@example(UNDEFINED_LENGTHS, frozenset({0x00080005}), Encoding())
@settings(max_examples=examples(1000), suppress_health_check=[HealthCheck.too_slow])
def test_values_are_the_same_whether_noted_read_back_or_decoded(
    found: tuple[str, bytes], tags: frozenset[int], encoding: Encoding
) -> None:
    """Else the folder of an object would depend on pixel data, on ``+B`` or on the archive that sends it."""
    syntax, data = uids.TRANSFER_SYNTAXES[found[0]], found[1]
    walked = adapted(data, syntax, encoding, IDENTITY | companions(tags))
    if walked is None:
        return
    noted = told(texts(walked.found, tags, big=syntax.big_endian))
    assert noted == told(read_back(walked.data, syntax, tags))
    if not syntax.encapsulated:
        deflated = recode(data, syntax, Encoding(uids.DEFLATED_LITTLE))
        assert noted == told(read_back(deflated, uids.DEFLATED_LITTLE, tags))
    order = ">" if syntax.big_endian else "<"
    pixels = encoded.el(0x7FE00010, None if syntax.implicit else "OW", bytes(10), order)
    head = adapted_head(data + pixels[:-2], syntax, encoding, IDENTITY | companions(tags))
    if head is not None:
        assert noted == told(texts(head.found, tags, big=syntax.big_endian))


@pytest.mark.row("CVE-2026-3650")
@given(broken, st.sampled_from([None, uids.EXPLICIT_BIG, uids.IMPLICIT_LITTLE]))
@settings(max_examples=60)
def test_malformed_bytes_take_memory_in_proportion_to_their_number(
    found: tuple[str, bytes], target: uids.TransferSyntax | None
) -> None:
    syntax, data = uids.TRANSFER_SYNTAXES[found[0]], found[1]
    outcome(data, syntax, Encoding(target), [len(data) or 1])  # the dictionaries are read now
    tracemalloc.start()
    try:
        outcome(data, syntax, Encoding(target), [len(data) or 1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(data) + 512 * 1024


@pytest.mark.row("25")
@pytest.mark.row("CVE-2026-3650")
@pytest.mark.parametrize("syntax", [uids.EXPLICIT_LITTLE, uids.IMPLICIT_LITTLE])
def test_false_length_takes_no_memory(syntax: uids.TransferSyntax) -> None:
    vr = None if syntax.implicit else "OW"
    data = encoded.el(0x7FE00010, vr, b"abcd", length=0xFFFFFFF0)
    tracemalloc.start()
    try:
        with pytest.raises(DataSetError):
            recode(data, syntax, Encoding(uids.EXPLICIT_BIG))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
