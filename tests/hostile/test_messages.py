"""DIMSE messages that nobody should send, over an association: what the sender is told, and what is on the disk."""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Any

import invariants
import pytest
from encoded import el
from station import (
    COMMAND,
    CT,
    LAST,
    MR,
    Raw,
    Sender,
    Station,
    association_request,
    data_set,
    pdv,
    store_command,
    store_message,
    uid,
)

from movescu._runtime.record import replace
from movescu.cli.logging import console_log
from movescu.dataset.file_meta import decode_file_meta
from movescu.dictionary.uids import (
    EXPLICIT_LITTLE,
    OTHER_TRANSFER_SYNTAXES,
    VERIFICATION,
    unknown_transfer_syntax,
)
from movescu.dimse.messages import CEchoRQ
from movescu.storage.file_names import file_name
from movescu.ul.pdu import Abort

if TYPE_CHECKING:
    from invariants import Invariants

    from movescu.ul.pdu import PDU

US = struct.Struct("<H").pack


def answer(station: Station, command: bytes) -> PDU | None:
    """Send a command set on an association; give what comes back, and see that the next sender is served."""
    with station.raw() as raw:
        raw.send_ignoring_the_end(pdv(1, COMMAND | LAST, command) + pdv(1, LAST, data_set()))
        reply = raw.reply()
    station.wait_until_idle()
    assert station.files == [invariants.GOOD]
    station.still_serves()
    return reply


UNSOUND = {
    "no message ID": store_command(e0110=None),
    "no SOP instance UID": store_command(e1000=None),
    "no SOP class UID": store_command(e0002=None),
    "no command field": store_command(e0100=None),
    "an unknown command": store_command(e0100=US(0x00FF)),
    "a response in place of a request": store_command(e0100=US(0x8001)),
    "a request that no storage SCP takes": store_command(e0100=US(0x0021), e0600=b"ME"),
    "nothing": b"",
    "a group length alone": el(0, None, struct.pack("<I", 0)),
    "an element of another group, cut off": store_command() + el(0x00100010, None, b"Doe ")[:-1],
    "cut off within an element": store_command()[:-3],
    "cut off within a header": store_command() + b"\0\0\0",
    "a length past the end": store_command() + struct.pack("<HHI", 0, 0x1031, 0xFFFFFFFF),
}


@pytest.mark.row("17")
@pytest.mark.row("CVE-2024-34508")
@pytest.mark.parametrize("what", UNSOUND)
def test_unsound_command_is_aborted(either: Station, what: str) -> None:
    reply = answer(either, UNSOUND[what])
    assert isinstance(reply, Abort)
    assert reply.source == 2


@pytest.mark.row("CVE-2024-34508")
@pytest.mark.parametrize("value", [None, b"", b"\1", b"\1\2\3", bytes(70)], ids=["absent", "empty", "1", "3", "70"])
@pytest.mark.parametrize("element", [0x0002, 0x0100, 0x0110, 0x0800, 0x1000])
def test_mandatory_element_that_is_absent_or_of_a_wrong_length_is_refused(
    either: Station, element: int, value: bytes | None
) -> None:
    with either.raw() as raw:
        raw.send(store_message(data_set(), 1, **{f"e{element:04x}": value}))
        if element in (0x0002, 0x1000) and value in (b"\1", b"\1\2\3"):  # a UID of its own: another class or object
            assert raw.status() in (0x0122, 0xA900)
        else:
            assert isinstance(raw.reply(), Abort)
    assert either.files == [invariants.GOOD]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings logged so far."""
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.row("CVE-2024-34508")
@pytest.mark.row("51")
@pytest.mark.parametrize("element", [0x0700, 0x1030, 0x1031])
@pytest.mark.parametrize("value", [None, b"", b"\1", b"\1\0\0\0"], ids=["absent", "empty", "1", "4"])
def test_element_of_no_use_to_us_may_be_missing_or_of_any_length(
    station: Station, caplog: pytest.LogCaptureFixture, element: int, value: bytes | None
) -> None:
    port = station.listen()
    for _ in range(2):  # a sender that opens an association for each object is warned of once
        with Raw(port) as raw:
            raw.associate()
            for _ in range(2):
                raw.send(store_message(data_set(), 1, **{f"e{element:04x}": value}))
                assert raw.status() == 0
            raw.release()
    assert station.files == ["CT.1.2.3", invariants.GOOD]
    sound = (element == 0x1030 and value != b"\1") or (
        element == 0x1031 and not value
    )  # optional, and any title will do
    said = warnings(caplog)
    assert len(said) == (0 if sound else 1), said
    assert all("127.0.0.1" in text for text in said)


@pytest.mark.row("51")
def test_elements_of_other_groups_in_a_command_are_read_past(either: Station, caplog: pytest.LogCaptureFixture) -> None:
    with either.raw() as raw:
        for _ in range(3):
            raw.send(pdv(1, COMMAND | LAST, store_command() + el(0x00100010, None, b"Doe ")) + pdv(1, LAST, data_set()))
            assert raw.status() == 0
        raw.release()
    assert either.files == ["CT.1.2.3", invariants.GOOD]
    (said,) = warnings(caplog)
    assert "other groups" in said


@pytest.mark.row("52")
@pytest.mark.parametrize("mode", [{}, {"bit_preserving": True}, {"forgive_blank_uids": True}])
@pytest.mark.parametrize("blanks", [b" ", b"\n", b"\t\0", b"\r\n", b"\v", b"\f"])
def test_white_space_behind_a_uid_is_padding(
    either: Station, caplog: pytest.LogCaptureFixture, blanks: bytes, mode: dict[str, Any]
) -> None:
    padded = b"1.2.3" + blanks + b"\0" * (len(blanks) % 2 == 0)
    own = el(0x00080016, "UI", CT.encode() + b" ") + el(0x00080018, "UI", padded)
    with either.raw(**mode) as raw:
        raw.send(store_message(own + el(0x00100010, "PN", b"Doe^Jane"), e1000=padded))
        assert raw.status() == 0
        raw.release()
    assert either.files == ["CT.1.2.3", invariants.GOOD]
    said = warnings(caplog)
    assert len(said) == (0 if mode.get("forgive_blank_uids") else 1), said
    assert all("blanks in a UID" in text for text in said)


@pytest.mark.row("18")
def test_store_request_that_announces_no_data_set_is_aborted(either: Station) -> None:
    reply = answer(either, store_command(e0800=US(0x0101)))
    assert reply == Abort(2, 5)


@pytest.mark.row("19")
def test_group_length_that_lies_is_tolerated_with_one_warning(
    either: Station, caplog: pytest.LogCaptureFixture
) -> None:
    with either.raw() as raw:
        for length in (0, 0xFFFFFFFF, 12):
            raw.send(store_message(data_set(), e0000=struct.pack("<I", length)))
            assert raw.status() == 0
    assert [r.levelno for r in caplog.records if "group length" in r.getMessage()] == [logging.WARNING]


@pytest.mark.row("20")
def test_object_on_a_verification_context_is_refused(station: Station) -> None:
    sender = station.open()
    assert sender.store(data_set(), context_id=5).status == 0x0122
    assert sender.store(data_set(VERIFICATION), class_uid=VERIFICATION, context_id=5).status == 0x0122
    assert station.files == [invariants.GOOD]
    assert sender.ask(CEchoRQ(VERIFICATION, 9), context_id=5).status == 0  # type: ignore[union-attr] # a response


@pytest.mark.row("21")
@pytest.mark.parametrize("mode", [{}, {"bit_preserving": True}])
def test_class_that_is_not_that_of_its_context_is_refused(either: Station, mode: dict[str, bool]) -> None:
    sender = either.open(**mode)
    assert sender.store(data_set(MR), class_uid=MR, context_id=1).status == 0x0122
    assert either.files == [invariants.GOOD]
    assert sender.store(data_set(MR), class_uid=MR, context_id=3).status == 0


@pytest.mark.row("22")
@pytest.mark.parametrize("mode", [{}, {"bit_preserving": True}])
@pytest.mark.parametrize("length", [65, 1000])
def test_overlong_uid_is_refused_and_the_association_lives(either: Station, length: int, mode: dict[str, bool]) -> None:
    long = "1." + "2" * (length - 2)
    sender = either.open(**mode)
    assert sender.store(data_set(instance_uid=long), instance_uid=long).status == 0x0117
    assert either.files == [invariants.GOOD]
    assert sender.store(data_set()).status == 0


@pytest.mark.row("61")
def test_nonstandard_syntaxes_and_uids_are_stored_bit_by_bit_on_request(station: Station, sandbox: Invariants) -> None:
    private = unknown_transfer_syntax("1.2.826.0.1.3680043.8.498.9")
    request = association_request(syntaxes=(private,))
    refusing = Sender(station.listen(bit_preserving=True), request)
    assert not refusing.connection.contexts
    refusing.release()
    station.close()
    port = station.listen(bit_preserving=True, syntaxes=(EXPLICIT_LITTLE, OTHER_TRANSFER_SYNTAXES))
    sender = Sender(port, request)
    assert {context.transfer_syntax.uid for context in sender.connection.contexts.values()} == {private.uid}
    for length in (65, 300, 301):
        long = "1." + "2" * (length - 2)
        name = file_name(CT, long)
        assert len(name) < 255
        sandbox.exact[name] = b"anything"
        assert sender.store(b"anything", instance_uid=long).status == 0
        meta = decode_file_meta((station.folder / name).read_bytes())
        assert meta is not None
        assert (meta.transfer_syntax_uid, meta.sop_instance_uid) == (private.uid, long)
    assert len(station.files) == 4
    sender.release()


@pytest.mark.row("62")
def test_refusal_says_that_it_is_ours_and_names_the_way_out(either: Station, caplog: pytest.LogCaptureFixture) -> None:
    sender = either.open()
    long = "1." + "2" * 63
    assert sender.store(data_set()[:-3]).status == 0xC000
    assert sender.store(data_set(instance_uid=long), instance_uid=long).status == 0x0117
    assert sender.store(data_set(MR), class_uid=MR).status == 0x0122
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    ways = ("--bit-preserving (+B) stores it", "--accept-nonstandard with --bit-preserving (+B) stores it", "no option")
    assert [way in text for way, text in zip(ways, said, strict=True)] == [True] * 3
    assert all("refused by this program (status " in text for text in said)


# -- UIDs and titles that mean something elsewhere ---------------------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "normal": {},
    "bit preserving": {"bit_preserving": True},
    "without file format": {"file_format": False},
}
ASTRAY = ("../x", "../../x", "/etc/x", "..", ".", "/", "a/../../x", "..\\x", "~/x", "precious", "x" * 64)


@pytest.mark.row("CVE-2022-2119")
@pytest.mark.parametrize("mode", MODES)
def test_no_uid_leads_out_of_the_output_directory(either: Station, sandbox: Invariants, mode: str) -> None:
    sender = either.open(**MODES[mode])
    for instance_uid in ASTRAY:
        data = data_set(instance_uid=instance_uid)
        sandbox.exact[file_name(CT, instance_uid)] = data
        assert sender.store(data, instance_uid=instance_uid).status == 0
    assert len(either.files) == 1 + len(ASTRAY)
    assert all(name.startswith("CT.") for name in either.files)
    assert all(path.is_file() for path in sandbox.received.iterdir())


@pytest.mark.row("CVE-2022-2119")
@pytest.mark.parametrize("mode", MODES)
def test_no_class_and_no_study_leads_out_of_the_output_directory(station: Station, mode: str) -> None:
    classes = ("../x", "/etc/x", "..")
    study = el(0x0020000D, "UI", uid("../..")) + el(0x0020000E, "UI", uid("/etc/x"))
    sender = Sender(station.listen(**MODES[mode]), association_request(classes))
    for number, class_uid in enumerate(classes):
        data = data_set(class_uid, f"1.2.{number}", rest=study)
        context_id = 2 * number + 1
        assert sender.store(data, instance_uid=f"1.2.{number}", class_uid=class_uid, context_id=context_id).status == 0
    sender.release()
    assert station.files == [invariants.GOOD, "UNKNOWN.1.2.0", "UNKNOWN.1.2.1", "UNKNOWN.1.2.2"]


@pytest.mark.row("CVE-2026-52868")
@pytest.mark.parametrize("mode", MODES)
def test_no_ae_title_is_part_of_a_path(station: Station, mode: str) -> None:
    request = replace(association_request(calling="../../x"), called_ae_title="/../x")
    sender = Sender(station.listen(**MODES[mode]), request)
    assert sender.store(data_set()).status == 0
    sender.release()
    assert station.files == ["CT.1.2.3", invariants.GOOD]


SPECIAL = (
    "1\0002",
    "1\0003",
    "1",
    "1\n2",
    "1\x1b[2J",
    "1\r2",
    "1\x7f",
    "1\x9b2",
    "1_2",
    "1%0A2",
    "1;$(id)",
    "`id`",
)


@pytest.mark.row("23")
@pytest.mark.row("CVE-2026-5663")
@pytest.mark.parametrize("mode", ["bit preserving", "normal"])
def test_control_characters_and_shells_words_make_files_of_their_own(
    either: Station, sandbox: Invariants, mode: str
) -> None:
    sender = either.open(**MODES[mode])
    stored = 0
    for instance_uid in SPECIAL:
        response = sender.store(data_set(instance_uid=instance_uid), instance_uid=instance_uid)
        foreign = any(character in instance_uid for character in "\n\r\x9b")  # no part of a UID, in a data set
        assert response.status == (0xA900 if mode == "normal" and foreign else 0)
        if response.status == 0:
            stored += 1
            sandbox.exact[file_name(CT, instance_uid)] = data_set(instance_uid=instance_uid)
    names = [name for name in either.files if name != invariants.GOOD]
    assert len(names) == stored
    assert all(name.isascii() and name.isprintable() for name in names)
    assert {"CT.1%002", "CT.1%250A2", "CT.1%3B%24%28id%29"} <= set(names)


@pytest.mark.row("23")
@pytest.mark.row("CVE-2026-5663")
def test_log_escapes_what_a_peer_says(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    hostile = "1\n2\x1b[2J\x9b"
    request = replace(association_request(calling="A\x1b[2J\nB"), called_ae_title="C\x07")
    caplog.set_level(logging.DEBUG, "movescu")
    sender = Sender(station.listen(), request)
    assert sender.store(data_set(), instance_uid=hostile).status == 0xA900
    sender.release()
    shown = [
        console_log.EscapedRecord(r.name, r.levelno, "", 0, r.msg, r.args, r.exc_info).getMessage()
        for r in caplog.records
    ]
    assert any("\\x1b[2J" in text for text in shown)
    assert not [text for text in shown if any(character in text for character in "\x1b\x9b\x07\r")]
    assert not [text for text in shown if "not be stored" in text and "\n" in text]


@pytest.mark.row("24")
@pytest.mark.parametrize("rest", [b"", el(0x7FE00010, "OW", bytes(2 << 20))], ids=["small", "large"])
def test_data_set_of_another_object_is_refused_before_anything_is_overwritten(either: Station, rest: bytes) -> None:
    sender = either.open()
    assert sender.store(data_set()).status == 0
    good = (either.folder / "CT.1.2.3").read_bytes()
    assert sender.store(data_set(instance_uid="6.6.6", rest=rest)).status == 0xA900
    assert sender.store(data_set(class_uid=MR, rest=rest)).status == 0xA900
    assert (either.folder / "CT.1.2.3").read_bytes() == good
    assert either.files == ["CT.1.2.3", invariants.GOOD]
