"""Log of a run: DCMTK's progress dots, dumps, privacy of patient data and secrets, unwritable streams."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import delivery
import logging_state
import pytest
import scripted
from command import dcmtk, movescu
from hypothesis import given
from hypothesis import strategies as st

from movescu._runtime.hex_dump import hex_text, text_of
from movescu._runtime.record import replace
from movescu.cli import streams
from movescu.cli.logging import console_log
from movescu.cli.logging import level as log_level
from movescu.cli.output.dots import Dots
from movescu.dataset.data_set_text import data_set_text
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.dimse.message_text import message_text
from movescu.dimse.messages import CMoveRQ, CMoveRSP, CStoreRQ
from movescu.storage.incoming_object import Incoming
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect
from movescu.ul.negotiation import AcceptorPolicy, Context, answer, propose, user_information
from movescu.ul.pdu import AssociateRJ, AssociateRQ
from movescu.ul.pdu_text import association_text, bytes_of
from movescu.ul.user_information import ExtendedNegotiation, UserIdentity, UserInformation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.dictionary.uids import TransferSyntax

PATIENT = "Public^Jane"
STORAGE = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[delivery.Delivered]:
    made = corpus.make_study(tmp_path_factory.mktemp("made"), instances=3, size=60_000)
    return [
        delivery.Delivered(
            str(number), one.sop_class_uid, one.instance_uid, EXPLICIT_LITTLE.uid, scripted.data_set(one.path)
        )
        for number, one in enumerate(made)
    ]


@pytest.fixture
def restored() -> Iterator[None]:
    with logging_state.restored():
        yield


# The progress


@pytest.mark.parametrize("options", ["-ll info", "-v --ignore", "-v +B -pdu 4096", "-d", ""])
def test_progress_dots_equal_those_of_dcmtk(options: str, objects: list[delivery.Delivered], tmp_path: Path) -> None:
    outputs = []
    for name, program in (("dcmtk", dcmtk), ("ours", movescu)):
        folder = tmp_path / name
        folder.mkdir()
        outputs.append(delivery.deliver(program, objects, *options.split(), folder=folder).outcome.output)
    assert outputs[1] == outputs[0]
    assert bool(outputs[1]) == ("-v" in options or "info" in options)


def incoming(uid: str) -> Incoming:
    return Incoming(CStoreRQ("1.2", 1, uid), Context(1, "1.2", EXPLICIT_LITTLE), "SENDER")


def test_dots_of_simultaneous_objects_stand_on_separate_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    dots = Dots()
    first, second, third = objects = [incoming(f"1.{number}") for number in range(3)]
    for one in objects:
        dots.begin(one)
    for one, times in ((second, 2), (first, 1), (third, 3)):
        for _ in range(times):
            dots.fragments(one, (memoryview(b""),))
    dots.finish(second)
    assert output.getvalue() == "RECV: ."
    dots.finish(first)
    dots.finish(third)
    assert output.getvalue() == "RECV: .\nRECV: ..\nRECV: ...\n"


# Streams that are gone


CLOSED = ["2>&-", ">&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"]


@pytest.mark.parametrize("where", CLOSED)
def test_unwritable_stream_changes_no_retrieve(where: str, objects: list[delivery.Delivered], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    prefix = ["sh", "-c", f'exec "$@" {where}', "sh"]
    for options in ("-v", "-ll trace"):
        delivered = delivery.deliver(
            lambda *arguments, folder: movescu(*arguments, folder=folder, prefix=prefix),
            objects,
            *options.split(),
            folder=folder,
        )
        assert set(delivered.statuses.values()) == {0}
        assert len(delivered.outcome.files) == 3


@pytest.mark.parametrize("where", CLOSED)
@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), ("--version", 0), ("--bad", 1)])
def test_unwritable_stream_keeps_the_exit_code_of_texts(where: str, arguments: str, code: int, tmp_path: Path) -> None:
    outcome = movescu(arguments, folder=tmp_path, code=code, prefix=["sh", "-c", f'exec "$@" {where}', "sh"])
    assert "rror" not in outcome.log.replace("error: Unknown option", "")


def test_broken_pipe_changes_no_retrieve(objects: list[delivery.Delivered], tmp_path: Path) -> None:
    prefix = ["sh", "-c", '{ "$@" 2>&1; echo "$?" >../code; } | head -1', "sh"]
    folder = tmp_path / "out"
    folder.mkdir()
    delivered = delivery.deliver(
        lambda *arguments, folder: movescu(*arguments, folder=folder, prefix=prefix), objects, "-v", folder=folder
    )
    assert set(delivered.statuses.values()) == {0}
    assert tmp_path.joinpath("code").read_text() == "0\n"
    assert len(delivered.outcome.files) == 3


def test_closed_stream_number_is_not_given_to_a_file(tmp_path: Path) -> None:
    code = "import os; from movescu.cli import streams; streams.secure(); print(os.open('x', os.O_CREAT))"
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, timeout=30)
    assert int(result.stdout) > 2


def test_write_returns_false_for_an_unwritable_stream() -> None:
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - cannot be closed without an error
    assert not streams.write(full, "x")
    with contextlib.suppress(OSError):
        full.close()
    assert not streams.write(None, "x")
    assert streams.write(io.StringIO(), "x")


# What a peer may say


@pytest.mark.row("23")
@pytest.mark.row("CVE-2026-5663")
@pytest.mark.usefixtures("restored")
def test_peer_text_is_logged_on_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    log_level.configure("info")
    log = logging.getLogger("movescu.test")
    log.warning("the peer says %s and %r", "\x1b[2J\x07\nI: forged\r\x9b", "a\nb")
    log.warning("ours\nis %(what)s", {"what": "a\nb"})
    try:
        raise ValueError("\x1b[2J")  # noqa: TRY301 - to be caught, and logged
    except ValueError:
        log.exception("an error")
    lines = capsys.readouterr().err.split("\n")
    assert lines[0] == r"W: the peer says \x1b[2J\x07\nI: forged\x0d\x9b and 'a\\nb'"
    assert lines[1:3] == ["W: ours", r"W: is a\nb"]
    assert lines[3:5] == ["E: an error", "E: Traceback (most recent call last):"]
    assert r"E: ValueError: \x1b[2J" in lines


@given(st.text(), st.sampled_from(["%s", "%r"]))
def test_message_argument_never_breaks_its_line(text: str, form: str) -> None:
    made = console_log.EscapedRecord("movescu", logging.INFO, "", 1, form, (text,), None)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", made.getMessage())


@given(st.text())
def test_dump_line_is_never_broken_by_peer_text(text: str) -> None:
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text_of([text]))


# Dumps


def run(level: str, folder: Path, objects: list[delivery.Delivered], *more: object) -> str:
    folder.mkdir()
    keys = ("-k", f"PatientName={PATIENT}", "-S")
    return delivery.deliver(movescu, objects, "-ll", level, *keys, *more, folder=folder).outcome.log


def test_debug_log_shows_negotiation_messages_and_identifiers(
    objects: list[delivery.Delivered], tmp_path: Path
) -> None:
    text = run("debug", tmp_path / "out", objects[:1])
    for expected in (
        r"D: A-ASSOCIATE-RQ to 127\.0\.0\.1 port [0-9]+",
        r"D:   called AE title: ANY-SCP",
        r"D:   presentation context 3: StudyRootQueryRetrieveInformationModelMove \(1\.2[.0-9]+\)",
        r"D:     Explicit VR Big Endian \(1\.2\.840\.10008\.1\.2\.2\)",
        r"D: A-ASSOCIATE-AC of 127\.0\.0\.1 port [0-9]+",
        r"D:   presentation context 3: accepted, StudyRootQueryRetrieveInformationModelMove \(1\.2[.0-9]+\)",
        r"D: A-ASSOCIATE-RQ of 127\.0\.0\.1 port [0-9]+",
        r"D:   presentation context 1: CTImageStorage \(1\.2\.840\.10008\.5\.1\.4\.1\.1\.2\)",
        r"D: A-ASSOCIATE-AC to 127\.0\.0\.1 port [0-9]+",
        r"D: C-MOVE-RQ to 127\.0\.0\.1 port [0-9]+ on presentation context 3",
        r"D:   move destination: MOVESCU",
        r"D: identifier, Explicit VR Little Endian",
        r"D:   \(0010,0010\) PN \[Public\^Jane\]  # 12 PatientName",
        r"D: C-STORE-RQ of 127\.0\.0\.1 port [0-9]+ on presentation context 1",
        rf"D:   affected SOP instance UID: {re.escape(objects[0].sop_instance_uid)}",
        r"D: C-STORE-RSP to 127\.0\.0\.1 port [0-9]+ on presentation context 1",
        r"D: C-MOVE-RSP of 127\.0\.0\.1 port [0-9]+ on presentation context 3",
        r"D:   status: 0x0000 \(Success\)",
    ):
        assert re.search(rf"^{expected}$", text, re.MULTILINE), f"{expected}\n{text}"
    assert not re.search(r"^T:", text, re.MULTILINE)


def test_trace_log_shows_the_first_bytes_of_each_pdu(objects: list[delivery.Delivered], tmp_path: Path) -> None:
    text = run("trace", tmp_path / "out", objects[:1])
    assert re.search(r"^T: P-DATA-TF to .*, presentation context 3, command, last, [0-9]+ bytes$", text, re.MULTILINE)
    assert re.search(r"^T: P-DATA-TF of .*, presentation context 1, data set, 16378 bytes$", text, re.MULTILINE)
    assert re.search(r"^T: A-ASSOCIATE-RQ of .*, [0-9]+ bytes$", text, re.MULTILINE)
    assert re.search(r"^T:   0000  01 00 00 00 .*ANY-SC$", text, re.MULTILINE)
    assert "T:   15866 more bytes" in text
    assert len(text) < 60_000


def patients(objects: list[delivery.Delivered]) -> list[str]:
    """Return the patient data in the objects."""
    found = re.findall(rb"\x10\x00[\x10\x20\x30]\x00(?:PN|LO|DA)..([^\x00-\x1f]{4,})", objects[0].data)
    return [PATIENT, *(value.decode("ascii").strip() for value in found)]


def test_patient_data_is_not_logged_above_debug(objects: list[delivery.Delivered], tmp_path: Path) -> None:
    broken = [*objects[:2], dataclasses.replace(objects[2], sop_instance_uid="1.2.3")]
    folder = tmp_path / "out"
    folder.mkdir()
    text = delivery.deliver(
        lambda *arguments, folder: movescu(*arguments, folder=folder, code=63),
        broken,
        *("-v", "-S", "-k", f"PatientName={PATIENT}"),
        folder=folder,
    ).outcome.log
    assert "received store request" in text
    assert "E: object 1.2.3" in text
    names = patients(objects)
    assert len(names) > 1
    assert not [name for name in names if name in text]


SECRET = "correct horse battery staple"  # of nobody


@pytest.mark.parametrize("level", ["debug", "trace"])
def test_user_secrets_are_never_logged(level: str, objects: list[delivery.Delivered], tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(SECRET)
    password.chmod(0o600)
    text = run(level, tmp_path / "out", objects[:1], "--user", "jane-the-user", "--password-file", password)
    assert "D:   user identity: user name and passcode, not shown" in text
    characters = "".join(re.findall(r"^T:   [0-9a-f]{4}  .{47}  (.*)$", text, re.MULTILINE))
    assert bool(characters) == (level == "trace")
    for secret in (SECRET, "jane-the-user"):
        assert secret not in text
        assert secret not in characters


def test_user_identities_of_peers_and_responses_to_ours_are_not_shown() -> None:
    identity = UserIdentity(2, b"jane", b"secret", positive_response_requested=True)
    request = AssociateRQ("A", "B", propose((STORAGE,), (EXPLICIT_LITTLE,)), UserInformation(user_identity=identity))
    policy = AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,))
    reply = answer(request, policy)
    ticket = UserInformation(user_identity_response=b"ticket")
    taken = replace(reply, user_information=ticket)
    for pdu in (request, taken):
        shown = association_text("title", pdu) + repr(pdu) * (pdu is request)
        assert "not shown" in shown
        for secret in (b"jane", b"secret", b"ticket"):
            assert secret.decode() not in shown
            assert secret not in bytes_of(pdu)


def test_request_of_the_largest_size_is_dumped() -> None:
    class_uid = "1." + "2" * 65_516
    information = UserInformation(
        extended_negotiations=(ExtendedNegotiation(class_uid, b""),), user_identity=UserIdentity(1, b"")
    )
    full = AssociateRQ("A", "B", propose((STORAGE,), (EXPLICIT_LITTLE,)), information)
    assert len(information.encode()) == 4 + 65_534
    assert bytes_of(full) == full.encode()


def test_rejection_is_shown_in_words() -> None:
    assert "called AE title not recognized" in association_text("title", AssociateRJ(1, 1, 7))
    assert bytes_of(AssociateRJ(1, 1, 7)) == AssociateRJ(1, 1, 7).encode()


def test_presentation_context_not_accepted_is_shown_with_the_reason() -> None:
    request = AssociateRQ("A", "B", propose((STORAGE, "1.2.3"), (IMPLICIT_LITTLE,)), user_information(0))
    policy = AcceptorPolicy(lambda uid: uid == STORAGE, (EXPLICIT_LITTLE,))
    lines = association_text("title", answer(request, policy), request).split("\n")
    assert f"  presentation context 1: transfer syntaxes not supported, CTImageStorage ({STORAGE})" in lines
    assert "  presentation context 3: abstract syntax not supported, 1.2.3" in lines
    assert "  maximum length: no limit" in association_text("title", request)


def test_messages_are_shown_field_by_field() -> None:
    text = message_text("title", CMoveRQ("1.2.3", 7, "ME\nD: forged", 2))
    assert text.split("\n")[1:] == [
        "  affected SOP class UID: 1.2.3",
        "  message ID: 7",
        "  move destination: ME\\nD: forged",
        "  priority: low",
        "  command data set type: present",
    ]
    assert "offending elements: (0010,0020)" in message_text("t", CMoveRSP(1, 0xA900, offending_elements=(0x100020,)))


IDENTIFIERS = {
    "text": (b"\x08\0\x52\0CS\x06\0STUDY ", "  (0008,0052) CS [STUDY]  # 6 QueryRetrieveLevel"),
    "UTF-8": (b"\x10\0\x10\0PN\x04\0\xc3\xbc\xc3\xb6", "  (0010,0010) PN [\xfc\xf6]  # 4 PatientName"),
    "other text": (b"\x10\0\x10\0PN\x02\0\xfc\xf6", "  (0010,0010) PN [\xfc\xf6]  # 2 PatientName"),
    "nothing": (b"\x10\0\x20\0LO\0\0", "  (0010,0020) LO (no value)  # 0 PatientID"),
    "numbers": (b"\x28\0\x10\0US\x04\0\1\0\2\0", "  (0028,0010) US 1\\2  # 4 Rows"),
    "tags": (b"\x28\0\x09\0AT\x04\0\x10\0\x20\0", "  (0028,0009) AT (0010,0020)  # 4 FrameIncrementPointer"),
    "bytes": (b"\xe0\x7f\x10\0OW\0\0\4\0\0\0\1\2\3\4", "  (7fe0,0010) OW 01 02 03 04  # 4 PixelData"),
    "a long one": (b"\x10\0\x10\0PN\x48\0" + b"x" * 72, f"  (0010,0010) PN [{'x' * 64}...]  # 72 PatientName"),
    "a private one": (b"\x11\0\1\x10UN\0\0\2\0\0\0\1\2", "  (0011,1001) UN 01 02  # 2"),
    "an item": (
        b"\x40\0\x75\2SQ\0\0\x16\0\0\0\xfe\xff\0\xe0\x0e\0\0\0\x08\0\x52\0CS\x06\0STUDY ",
        "  (0040,0275) SQ RequestAttributesSequence\n    item\n      (0008,0052) CS [STUDY]  # 6 QueryRetrieveLevel",
    ),
    "no data set": (b"\xff" * 20, "cannot be read: "),
    "a part of one": (b"\x08\0\x52\0CS\x06\0STU", "cannot be read: the data set ends"),
}


@pytest.mark.parametrize("what", IDENTIFIERS)
def test_identifiers_are_shown_element_by_element(what: str) -> None:
    data, text = IDENTIFIERS[what]
    shown = data_set_text("title", data, EXPLICIT_LITTLE)
    assert shown.startswith("title\n")
    assert text in shown


def test_deflated_identifiers_are_shown_too() -> None:
    deflater = zlib.compressobj(wbits=-15)
    data = deflater.compress(IDENTIFIERS["text"][0]) + deflater.flush()
    assert IDENTIFIERS["text"][1] in data_set_text("title", data, DEFLATED_LITTLE)
    assert "cannot be read" in data_set_text("title", b"\xff" * 9, DEFLATED_LITTLE)


def test_identifier_dump_is_limited() -> None:
    assert data_set_text("title", IDENTIFIERS["numbers"][0] * 10_000, EXPLICIT_LITTLE).count("\n") < 600


@given(st.binary(max_size=200), st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED_LITTLE]))
def test_identifier_dump_never_raises(data: bytes, syntax: TransferSyntax) -> None:
    data_set_text("title", data, syntax)


def test_hex_dump_shows_numbers_and_characters() -> None:
    lines = hex_text("title", b"\x1b[2J" + bytes(14)).split("\n")
    assert lines[0] == "title, 18 bytes"
    assert lines[1] == f"  0000  1b 5b 32 4a{' 00' * 12}  .[2J{'.' * 12}"
    assert lines[2] == f"  0010  00 00{' ' * 42}  .."


@pytest.mark.usefixtures("restored")
def test_dumps_are_not_made_above_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    log_level.configure("info")
    for name in ("movescu.ul.pdu_text", "movescu.dimse.message_text", "movescu.dataset.data_set_text"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would raise

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_release()

    with scripted.archive(script) as archive:
        request = AssociateRQ("A", "B", propose((STORAGE,), (EXPLICIT_LITTLE,)), user_information(16384))
        connection = Connection.request(connect(*archive.address, 30.0), request, 30.0)
        connection.release(Deadline(30.0, "the release"))
