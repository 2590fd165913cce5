"""Stretches learnt from earlier objects of a series never change the result of the walk."""

from __future__ import annotations

from functools import partial

import pytest
from encoded import BIG, IMPLICIT, LITTLE, Layout, Node, encode
from hypothesis import given
from hypothesis import strategies as st

from movescu.dataset.encoding import Encoding, Identity
from movescu.dataset.fast_path import kinds
from movescu.dataset.fast_path.scanner import adapted
from movescu.dataset.fast_path.shapes import Shapes
from movescu.dataset.fast_path.stretches import Stretches
from movescu.dataset.identity import IDENTITY, INSTANCE_UID
from movescu.dataset.transcoder import recode
from movescu.dictionary import tags as dictionary
from movescu.dictionary import uids
from movescu.dictionary.vr import PIXEL_DATA
from movescu.errors import DataSetError

SYNTAXES = {LITTLE: uids.EXPLICIT_LITTLE, BIG: uids.EXPLICIT_BIG, IMPLICIT: uids.IMPLICIT_LITTLE}
CT = b"1.2.840.10008.5.1.4.1.1.2\0"
ITEM = [
    Node(0x00080100, "SH", b"CODE"),
    Node(0x00080102, "SH", b"DCM "),
    Node(0x00080104, "LO", b"Meaning "),
    Node(0x00081150, "UI", CT),
    Node(0x00081155, "UI", b"1.2.3\0"),
]
OBJECT = [
    Node(0x00080005, "CS", b"ISO_IR 100"),
    Node(0x00080016, "UI", CT),
    Node(0x00080018, "UI", b"1.2.3.44"),
    *(Node(0x00080020 + i, "DA", b"20260101") for i in range(4)),
    Node(0x00080050, "SH", b""),
    Node(0x00081140, "SQ", [ITEM, ITEM]),
    *(Node(0x00100010 + 16 * i, "LO", b"A value ") for i in range(3)),
    Node(0x0020000D, "UI", b"1.2.3.45"),
    *(Node(0x00201000 + i, "IS", b"17") for i in range(6)),
    *(Node(0x00280002 + 16 * i, "US", b"\1\0") for i in range(4)),
    Node(PIXEL_DATA, "OW", bytes(range(64))),
]
PLACES = st.sampled_from([tag for node in OBJECT if not isinstance(node.value, list) for tag in (node.tag,)])


def learn(layout: Layout, encoding: Encoding, nodes: list[Node] = OBJECT) -> None:
    """Walk some similar objects, starting without any learnt stretches."""
    dictionary.use(None)
    for _ in range(3):
        adapted(encode(nodes, layout), SYNTAXES[layout], encoding)


def shapes_of(data: bytes) -> Shapes:
    return Shapes(data, "<", kinds.EXPLICIT, IDENTITY, implicit=False, explicit_length=True)


def check(data: bytes, layout: Layout, encoding: Encoding) -> bool:
    """Compare the walk with ``recode``; return True if the walk was sufficient."""
    syntax = SYNTAXES[layout]
    found = adapted(data, syntax, encoding)
    if found is None:
        return False
    assert bytes(found[1]) == recode(data, syntax, encoding)
    return True


@pytest.mark.parametrize("layout", SYNTAXES)
def test_object_like_the_previous_ones_is_unchanged(layout: Layout) -> None:
    learn(layout, Encoding())
    data = encode([n._replace(value=b"1.2.3.46") if n.tag == INSTANCE_UID else n for n in OBJECT], layout)
    found = adapted(data, SYNTAXES[layout], Encoding())
    assert found is not None
    assert found[:2] == (Identity(CT[:-1].decode(), "1.2.3.46"), data)


@given(st.sampled_from(sorted(SYNTAXES)), st.booleans(), PLACES, st.binary(max_size=12), st.booleans())
def test_changed_value_is_noticed(layout: Layout, new_vr: bool, place: int, value: bytes, padded: bool) -> None:
    encoding = Encoding(new_vr=new_vr)
    learn(layout, encoding)
    value += b" " * (padded and len(value) & 1)
    check(encode([n._replace(value=value) if n.tag == place else n for n in OBJECT], layout), layout, encoding)


@given(st.sampled_from(sorted(SYNTAXES)), st.integers(0, 800), st.binary(max_size=9), st.integers(0, 9))
def test_changed_byte_is_noticed_at_any_position(layout: Layout, place: int, new: bytes, left_out: int) -> None:
    learn(layout, Encoding())
    data = encode(OBJECT, layout)
    changed = data[:place] + new + data[place + left_out :]
    try:
        recode(changed, SYNTAXES[layout], Encoding())
    except DataSetError:
        assert adapted(changed, SYNTAXES[layout], Encoding()) is None
    else:
        check(changed, layout, Encoding())


@pytest.mark.parametrize("layout", SYNTAXES)
@pytest.mark.parametrize("value", [b"A val   ", b"  ", b"A value"])
def test_text_with_excess_padding_is_not_passed(layout: Layout, value: bytes) -> None:
    """Its padding would stay in the file, while that of the first objects of a series is stripped."""
    learn(layout, Encoding())
    data = encode([n._replace(value=value) if n.tag == 0x00100020 else n for n in OBJECT], layout)
    assert adapted(data, SYNTAXES[layout], Encoding()) is None


@pytest.mark.parametrize("layout", SYNTAXES)
@pytest.mark.parametrize("late", [Node(0x00300010, "LO", b"before a stretch"), Node(0x00190010, "IS", b"in")])
def test_elements_out_of_order_are_not_passed(layout: Layout, late: Node) -> None:
    learn(layout, Encoding())
    nodes = list(OBJECT)
    place = [n.tag for n in nodes].index(0x00100010 if late.vr == "LO" else 0x00201003)
    nodes[place : place + (late.vr == "IS")] = [late]
    assert adapted(encode(nodes, layout), SYNTAXES[layout], Encoding()) is None


def test_dictionary_with_another_vr_takes_effect() -> None:
    """In implicit VR only the dictionary says whether a value is text, whose padding is stripped."""
    numbers = [n for n in OBJECT if n.vr != "IS"] + [Node(0x00201000 + i, "US", b"  ") for i in range(6)]
    data = encode(sorted(numbers), IMPLICIT)
    uid_rows = {tag: ("UI", "1", f"UID{tag:08x}") for tag in IDENTITY}
    rows = dictionary.Rows()
    rows.single |= uid_rows | {0x00201000 + i: ("US", "1", f"Number{i}") for i in range(6)}
    try:
        dictionary.use(rows)
        for _ in range(3):
            found = adapted(data, uids.IMPLICIT_LITTLE, Encoding())
        assert found is not None
    finally:
        dictionary.use(None)
    assert adapted(data, uids.IMPLICIT_LITTLE, Encoding()) is None


def test_item_whose_length_looks_like_a_vr_is_an_item() -> None:
    """Two bytes of its length are ``DA``, in the place of a VR; the content would be read at a wrong offset."""
    text = Node(0x00400001, "LO", b"x" + (0x20000).to_bytes(4, "little") + bytes(0x42 - 5))
    filler = Node(0x00420010, "OB", bytes(0x00014144 - 8 - 0x42 - 12))
    nodes = [*OBJECT[:-1], Node(0x00400275, "SQ", [[text, filler]]), Node(0x00880140, "LO", b"behind")]
    data = encode(nodes, LITTLE)
    assert b"\xfe\xff\x00\xe0DA\x01\x00" in data
    dictionary.use(None)
    for _ in range(4):
        found = adapted(data, uids.EXPLICIT_LITTLE, Encoding())
        assert found is not None
        assert found.data == data
    last = shapes_of(data).top[-1]
    assert last is not None
    assert last.tag == 0x00880140


def test_difference_between_two_objects_divides_a_stretch() -> None:
    """And the element that differs begins one for each of its lengths."""
    stretches = Stretches()
    other = [n._replace(value=b"1234") if n.tag == 0x00201003 else n for n in OBJECT]
    for nodes in [OBJECT, other, *[OBJECT] * 6]:
        stretches.learn(partial(shapes_of, encode(nodes)))
    ends = [(stretch.tag, stretch.end_tag) for stretch in stretches.top.by_header.values()]
    assert ends == [(0x00080005, 0x00201002), (0x00201003, PIXEL_DATA), (0x00201003, PIXEL_DATA)]
