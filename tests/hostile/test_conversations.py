"""Conversations that nobody wrote down: random steps of several storage clients at once, and random archives.

After each step the files hold; after each conversation every invariant does. A few seconds of it run with all tests;
``pytest tests/hostile --hypothesis-profile=long`` goes on for an hour (the profile is in ``conftest``).
"""

from __future__ import annotations

import functools
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import invariants
import peers
import pytest
import scripted
from encoded import REQUEST, UNDEFINED, el, item
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from invariants import Invariants
from setting import Setting
from station import COMMAND, LAST, MR, Raw, Station, data_set, pdv, store_command, store_message, uid

from movescu.errors import MovescuError
from movescu.ul.pdu import Abort, PDataTF, ReleaseRQ

if TYPE_CHECKING:
    from corpus import Instance

INSTANCES = ("1.2.3", "1.2.4", "1.2.5", invariants.GOOD.removeprefix("CT."))
LARGE = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 150_000) + bytes(150_000)
BAD = (
    b"",
    data_set()[:-3],
    data_set(MR),
    data_set(rest=el(REQUEST, "SQ", item(b"", UNDEFINED), length=UNDEFINED) * 70),
    bytes(3000),
)
_MOST = settings().max_examples  # of the profile in force
_CONVERSATIONS, _ARCHIVES = (_MOST, _MOST) if _MOST > 100 else (25, 40)
A_DATA_SET = pdv(1, LAST, data_set())
GARBAGE = (
    b"\xff" * 20,
    b"GET / HTTP/1.0\r\n\r\n",
    struct.pack(">BxI", 4, 0xFFFFFFFF),
    struct.pack(">BxI", 1, 0xFFFFFFFF),
    struct.pack(">BxIIBB", 4, 6, 0xFFFFFFFE, 1, 3),
    pdv(1, COMMAND | LAST, b"\0" * 30),
    pdv(9, COMMAND | LAST, store_command()),
    A_DATA_SET,
    Abort().encode(),
)


@pytest.fixture(autouse=True)
def sandbox() -> None:
    """Each conversation has a sandbox of its own, in place of one for the whole test."""


class Client:
    """A storage client, how far it is, and what it has sent of an object."""

    def __init__(self, port: int) -> None:
        self.raw = Raw(port)
        self.associated = False
        self.begun = ""
        self.rest = b""


class Conversations(RuleBasedStateMachine):
    """A storage SCP over a sandbox, and clients that do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="movescu-conversations-"))
        self.sandbox = Invariants(self.folder)
        self.station = Station(self.sandbox.received)
        self.port = self.station.listen(store_timeout=5.0, artim=5.0)
        self.clients: list[Client] = []

    def some(self, number: int, *, associated: bool | None = None) -> Client | None:
        fitting = [c for c in self.clients if associated is None or c.associated is associated]
        return fitting[number % len(fitting)] if fitting else None

    def forget(self, client: Client) -> None:
        self.clients.remove(client)
        client.raw.socket.close()

    @precondition(lambda self: len(self.clients) < 4)
    @rule(associate=st.booleans())
    def connect(self, associate: bool) -> None:  # hypothesis calls by name
        client = Client(self.port)
        self.clients.append(client)
        if associate:
            client.raw.associate()
            client.associated = True

    @rule(number=st.integers(0, 3), instance=st.sampled_from(INSTANCES), large=st.booleans())
    def store(self, number: int, instance: str, large: bool) -> None:
        client = self.some(number, associated=True)
        if client is None or client.begun:
            return
        data = data_set(instance_uid=instance, rest=LARGE if large else b"")
        room = 16000
        client.raw.send(pdv(1, COMMAND | LAST, store_command(e1000=uid(instance))))
        for at in range(0, len(data), room):
            client.raw.send(pdv(1, LAST if at + room >= len(data) else 0, data[at : at + room]))
        assert client.raw.status() == 0

    @rule(number=st.integers(0, 3), what=st.sampled_from(BAD))
    def store_what_is_no_object(self, number: int, what: bytes) -> None:
        client = self.some(number, associated=True)
        if client is None or client.begun:
            return
        client.raw.send(store_message(what))
        assert client.raw.status() in (0xC000, 0xA900)

    @rule(number=st.integers(0, 3), instance=st.sampled_from(INSTANCES), share=st.integers(0, 3))
    def begin(self, number: int, instance: str, share: int) -> None:
        client = self.some(number, associated=True)
        if client is None or client.begun:
            return
        client.raw.send(pdv(1, COMMAND | LAST, store_command(e1000=uid(instance))))
        data = data_set(instance_uid=instance, rest=LARGE)
        sent = share * 40_000
        for at in range(0, sent, 10_000):
            client.raw.send(pdv(1, 0, data[at : at + 10_000]))
        client.begun, client.rest = instance, data[sent:]

    @rule(number=st.integers(0, 3), whole=st.booleans())
    def complete(self, number: int, whole: bool) -> None:
        client = self.some(number, associated=True)
        if client is None or not client.begun:
            return
        rest = client.rest if whole else client.rest[:-5]
        for at in range(0, len(rest), 10_000):
            client.raw.send(pdv(1, LAST if at + 10_000 >= len(rest) else 0, rest[at : at + 10_000]))
        client.begun = ""
        assert client.raw.status() == (0 if whole else 0xC000)

    @rule(number=st.integers(0, 3), garbage=st.sampled_from(GARBAGE))
    def rave(self, number: int, garbage: bytes) -> None:
        client = self.some(number)
        if client is None or (client.begun and garbage == A_DATA_SET):  # which would be no garbage there
            return
        client.raw.send_ignoring_the_end(garbage)
        if client.associated and garbage != Abort().encode():
            assert not isinstance(client.raw.reply(), PDataTF)
        self.forget(client)

    @rule(number=st.integers(0, 3), how=st.sampled_from(["close", "reset", "abort", "release"]))
    def leave(self, number: int, how: str) -> None:
        client = self.some(number)
        if client is None:
            return
        if how == "reset":
            client.raw.reset()
        elif how != "close":
            client.raw.send((Abort() if how == "abort" else ReleaseRQ()).encode())
        if how == "release" and client.associated:
            assert client.raw.reply() is not None
        self.forget(client)

    @invariant()
    def files_hold(self) -> None:
        self.sandbox.check_files()

    def teardown(self) -> None:
        try:
            for client in list(self.clients):
                self.forget(client)
            self.station.wait_until_idle()
            self.sandbox.no_temporary_file()
            self.station.close()
            self.sandbox.check()
        finally:
            self.station.close()
            shutil.rmtree(self.folder)


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=_CONVERSATIONS, stateful_step_count=40, deadline=None)


# -- random archives ---------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What an archive does: which objects come before its answer and which after it, how they end, what it says."""

    before: list[int]
    after: list[int]
    broken: bool
    completed: int | None
    failed: int | None
    status: int
    end: str


ARCHIVES = st.builds(
    Said,
    st.lists(st.integers(0, 2), max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
    st.booleans(),
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 2),
    st.sampled_from([0, 0, 0, 0xB000, 0xA702]),
    st.sampled_from(["release", "release", "release", "abort", "reset", "close"]),
)


@functools.cache
def our_port() -> int:
    """Give the port that all runs listen on, one after the other."""
    return peers.free_port()


def follow(said: Said, setting: Setting, session: scripted.Session) -> None:
    """Be this archive."""
    session.accept()
    session.expect_move()
    for number in said.before:
        send(setting, [setting.made[number]])
    if said.broken:
        with scripted.sender(setting.port, setting.made, release=False) as sender:
            sender.begin(setting.made[0])
    if said.end != "release":
        {"abort": session.abort, "reset": session.reset, "close": session.close}[said.end]()
        return
    session.respond(said.status, completed=said.completed, failed=said.failed)
    for number in said.after:
        send(setting, [setting.made[number]])
    session.expect_end_or_release()


def send(setting: Setting, instances: list[Instance]) -> None:
    """Store; whoever comes after the port was closed comes too late."""
    try:
        setting.send(instances)
    except MovescuError:
        return


@settings(max_examples=_ARCHIVES, deadline=None)
@given(ARCHIVES)
@example(Said([0, 0], [], False, 2, None, 0, "release"))  # noqa: FBT003 - an object sent twice makes up for no other
def test_exit_code_0_means_that_archive_and_disk_agree(said: Said) -> None:
    folder = Path(tempfile.mkdtemp(prefix="movescu-archives-"))
    try:
        sandbox = Invariants(folder)
        setting = Setting(sandbox.outer, our_port())
        sandbox.begin()
        outcome = setting.run_here(
            lambda session: follow(said, setting, session), code=None, linger=0.02, store_timeout=0.2, stall_timeout=5.0
        )
        sandbox.check()
        came = len(outcome.files) - 1
        agrees = said.end == "release" and said.status == 0 and not said.failed
        if outcome.code == 0:
            assert agrees, outcome.log
            assert said.completed is None or came >= min(said.completed, 1)
            assert not said.broken or 0 in (*said.before, *said.after)
            assert said.completed is None or len({*said.before, *said.after}) >= said.completed
        elif agrees and not said.broken and not said.after:
            assert said.completed is not None
            assert said.completed > len({*said.before}), outcome.log
    finally:
        shutil.rmtree(folder)
