"""User identity (PS3.7 D.3.3.7): what an archive learns of who asks, and that nobody else learns the secret.

pynetdicom is the archive; one server for all cases, which keeps what it was told and answers as the case wants it.
Secrets go through files and the environment; no log at any level, no error message and no ``repr`` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import peers
import pynetdicom
import pytest
import scripted
from command import movescu
from negotiating import KEY
from pynetdicom import evt

from movescu.cli.options.command_line import parse
from movescu.cli.options.configuration import config_of
from movescu.ul.pdu import AssociateRQ
from movescu.ul.user_information import UserIdentity, UserInformation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("user_identity")

MOVE_CLASSES = [f"1.2.840.10008.5.1.4.1.2.{root}.2" for root in (1, 2, 3)]
SECRET = b"s3cret-of-the-user"


@dataclass
class Archive:
    """The archive: ``answer`` is what it makes of an identity, ``told`` the identities that it was given."""

    port: int = 0
    answer: tuple[bool, bytes | None] = (True, None)
    told: list[tuple[int, bytes, bytes, bool]] = field(default_factory=list)

    def identify(self, event: Any) -> tuple[bool, bytes | None]:  # pynetdicom is untyped here
        """Take an identity."""
        item = event.assoc.requestor.user_identity
        self.told.append(
            (event.user_id_type, event.primary_field, event.secondary_field or b"", item.positive_response_requested)
        )
        return self.answer


def move(_: object) -> Iterator[object]:
    """Answer a C-MOVE request: nothing matches."""
    yield peers.HOST, 104
    yield 0


@pytest.fixture(scope="module")
def server() -> Iterator[Archive]:
    state = Archive()
    entity = pynetdicom.AE("ARCHIVE")
    for uid in MOVE_CLASSES:
        entity.add_supported_context(uid)
    handlers = [(evt.EVT_USER_ID, state.identify), (evt.EVT_C_MOVE, move)]
    running = entity.start_server((peers.HOST, 0), block=False, evt_handlers=handlers)
    assert running is not None
    state.port = running.server_address[1]
    yield state
    running.shutdown()


@pytest.fixture
def archive(server: Archive) -> Archive:
    server.answer = (True, None)
    server.told.clear()
    return server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "received"
    path.mkdir()
    return path


TICKET = b"\x00\xff ticket " + SECRET + b"\r\n"

# options, what is in the file, MOVESCU_PASSWORD; type, primary and secondary field of PS3.7 table D.3-14
Case = tuple[tuple[str, ...], bytes, str, tuple[int, bytes, bytes]]
CASES: dict[str, Case] = {
    "a name": (("--user", "someone"), b"", "", (1, b"someone", b"")),
    "a name in UTF-8": (("--user", "Jérôme"), b"", "", (1, "Jérôme".encode(), b"")),
    "a name and a passcode in a file": (
        ("--user", "someone", "--password-file"),
        *(SECRET + b"\n", "", (2, b"someone", SECRET)),
    ),
    "the file counts more than the environment": (
        ("--user", "someone", "--password-file"),
        *(SECRET + b"\r\n", "another", (2, b"someone", SECRET)),
    ),
    "blanks are part of a passcode": (
        ("--user", "someone", "--password-file"),
        *(b" " + SECRET + b" \n", "", (2, b"someone", b" " + SECRET + b" ")),
    ),
    "a passcode in the environment": (("--user", "someone"), b"", SECRET.decode(), (2, b"someone", SECRET)),
    "a Kerberos ticket, to the byte": (("--kerberos",), TICKET, "", (3, TICKET, b"")),
    "a SAML assertion": (("--saml",), b"<saml:Assertion>" + SECRET + b"\n", "", (4, b"<saml:Assertion>" + SECRET, b"")),
    "a JSON web token": (("--jwt",), SECRET + b".e30.c2ln\n", "", (5, SECRET + b".e30.c2ln", b"")),
    "an assertion of 60 KB": (("--saml",), SECRET * 3333, "", (4, SECRET * 3333, b"")),
}


def arguments(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options, with the file behind the one that takes a file."""
    options, content, password, _ = case
    monkeypatch.delenv("MOVESCU_PASSWORD", raising=False)
    if password:
        monkeypatch.setenv("MOVESCU_PASSWORD", password)
    if not content:
        return list(options)
    (tmp_path / "secret").write_bytes(content)
    return [*options, str(tmp_path / "secret")]


@pytest.mark.parametrize("what", CASES)
def test_archive_is_told_who_asks_and_the_log_does_not_tell_the_secret(
    what: str, archive: Archive, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[what]
    options = arguments(case, tmp_path, monkeypatch)
    archive.answer = (True, b"server-" + SECRET)
    outcome = movescu(
        *("-ll", "trace", "--arguments", *KEY, *options, peers.HOST, archive.port),
        folder=folder,
    )
    assert archive.told == [(*case[3], True)]
    for spelled in (SECRET.decode(), SECRET.hex(), SECRET.hex(" "), SECRET[:8].hex("\\")):
        assert spelled not in outcome.log.lower()


@pytest.mark.parametrize("what", CASES)
def test_sub_item_is_that_of_the_standard_byte_for_byte(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[what]
    settings = parse([*KEY, *arguments(case, tmp_path, monkeypatch), "archive", "104"])
    identity = config_of(settings).request.user_identity
    assert identity is not None
    kind, primary, secondary = case[3]
    body = bytes((kind, 1)) + len(primary).to_bytes(2, "big") + primary + len(secondary).to_bytes(2, "big") + secondary
    assert identity.encode() == b"\x58\0" + len(body).to_bytes(2, "big") + body


def test_nothing_that_is_printed_of_a_request_or_its_answer_shows_the_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    settings = parse([*KEY, "--user", "someone", "--password-file", str(tmp_path / "secret"), "archive", "104"])
    options = config_of(settings)
    said = UserInformation(user_identity=options.request.user_identity, user_identity_response=SECRET)
    for shown in (settings, options, options.request.user_identity, said, AssociateRQ("A", "B", (), said)):
        assert SECRET.decode() not in f"{shown!r} {shown}"


# -- what the archive makes of it ------------------------------------------------------------------------------------

DOUBT = "did not acknowledge the user identity"


def identified(tmp_path: Path, archive: Archive, folder: Path, kind: str, code: int) -> str:
    """The log of a run with an identity."""
    (tmp_path / "secret").write_bytes(SECRET)
    options = ("--user", "someone") if kind == "--user" else (kind, tmp_path / "secret")
    return movescu(*KEY, *options, peers.HOST, archive.port, folder=folder, code=code).log


@pytest.mark.parametrize("kind", ["--kerberos", "--saml", "--jwt"])
def test_archive_that_confirms_the_identity_is_believed(
    kind: str, archive: Archive, tmp_path: Path, folder: Path
) -> None:
    archive.answer = (True, b"your ticket")
    assert DOUBT not in identified(tmp_path, archive, folder, kind, 0)


@pytest.mark.parametrize("kind", ["--user", "--kerberos", "--saml", "--jwt"])
def test_archive_that_does_not_confirm_the_identity_may_not_have_read_it(
    kind: str, archive: Archive, tmp_path: Path, folder: Path
) -> None:
    assert DOUBT in identified(tmp_path, archive, folder, kind, 0)


@pytest.mark.parametrize("kind", ["--user", "--kerberos", "--saml", "--jwt"])
def test_archive_that_does_not_know_the_user_rejects_the_association(
    kind: str, archive: Archive, tmp_path: Path, folder: Path
) -> None:
    archive.answer = (False, None)
    log = identified(tmp_path, archive, folder, kind, 61)
    assert "association request failed: association rejected" in log
    assert SECRET.decode() not in log
    assert len(archive.told) == 1


def test_name_is_confirmed_by_an_answer_that_says_nothing(folder: Path) -> None:
    def script(session: scripted.Session) -> None:
        request = session.read_request()
        assert request.user_information.user_identity == UserIdentity(1, b"someone", positive_response_requested=True)
        session.accept_with(request, user_identity_response=b"")  # PS3.7 D.3.3.7.2: its length is zero
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        assert DOUBT not in movescu(*KEY, "--user", "someone", *archive.address, folder=folder).log


# -- what cannot be used ---------------------------------------------------------------------------------------------

UNUSABLE: dict[str, tuple[tuple[str, ...], bytes | None, str]] = {
    "missing": (("--jwt",), None, "cannot read"),
    "missing passcode": (("--user", "someone", "--password-file"), None, "cannot read"),
    "empty": (("--kerberos",), b"", "is empty"),
    "blank": (("--saml",), b" \n", "is empty"),
    "too long": (("--kerberos",), SECRET * 4000, "has room for"),
    "too long a passcode": (("--user", "someone", "--password-file"), SECRET * 3612, "has room for"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_secret_that_cannot_be_sent_ends_the_run_before_anything_is_sent(
    what: str, tmp_path: Path, folder: Path
) -> None:
    options, content, words = UNUSABLE[what]
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    refused = peers.free_port()  # a connection would end with 61
    outcome = movescu(*KEY, *options, tmp_path / "secret", peers.HOST, refused, folder=folder, code=1)
    assert words in outcome.log
    assert SECRET.decode() not in outcome.log


def test_empty_name_is_no_identity(folder: Path) -> None:
    assert "is empty" in movescu(*KEY, "--user", "", peers.HOST, peers.free_port(), folder=folder, code=1).log


def test_without_these_options_nothing_is_said_of_a_user(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOVESCU_PASSWORD", SECRET.decode())
    outcome = movescu(*KEY, peers.HOST, archive.port, folder=folder)
    assert archive.told == []
    assert DOUBT not in outcome.log
