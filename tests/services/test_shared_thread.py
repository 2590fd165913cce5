"""Several associations at once: small objects share a thread, and no sender waits for a slow one."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from station import COMMAND, LAST, Raw, Station, data_set, pdv, store_command, store_message, uid
from wire import WAIT

from movescu._runtime import clock
from movescu.services import shared_thread
from movescu.storage.sinks import OnBytes
from movescu.ul.pdu import Abort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from movescu.services.store import Received


class Noted(list["Received"]):
    """What was received, and the thread that each object was served in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def append(self, received: Received) -> None:
        self.threads.append(threading.get_ident())
        super().append(received)


class Scene:
    """A storage SCP and some associations with it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.received = Noted()
        self.station = Station(folder)
        self.station.received = self.received
        self._stack = stack
        stack.callback(self.station.close)
        self.port = 0
        self.sent: list[str] = []

    def peers(self, count: int) -> list[Raw]:
        self.port = self.port or self.station.listen()
        made = [self._stack.enter_context(Raw(self.port)) for _ in range(count)]
        for peer in made:
            peer.associate()
        return made

    def message(self, size: int = 100) -> bytes:
        name = f"1.2.3.{len(self.sent)}"
        self.sent.append(name)
        data = data_set(CT, name, rest(size))
        pieces = [data[at : at + 16_000] for at in range(0, len(data), 16_000)]
        fragments = [pdv(1, LAST if piece is pieces[-1] else 0, piece) for piece in pieces]
        return pdv(1, COMMAND | LAST, store_command(e1000=uid(name))) + b"".join(fragments)

    def store(self, peer: Raw, size: int = 100) -> None:
        peer.send(self.message(size))
        assert peer.status() == 0

    def check(self) -> None:
        assert self.station.files == sorted(f"CT.{name}" for name in self.sent)
        assert len(self.received) == len(self.sent)


CT = "1.2.840.10008.5.1.4.1.1.2"


def rest(size: int) -> bytes:
    return b"\x10\x00\x10\x00PN\x02\x00AB" + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little") + bytes(size)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """With a disk that is never slow, however busy the machine is."""
    monkeypatch.setattr(shared_thread, "_SLOW", 1e9)
    (tmp_path / "in").mkdir()
    before = threading.active_count()
    with ExitStack() as stack:
        yield Scene(tmp_path / "in", stack)
    assert threading.active_count() == before


def settled(scene: Scene, count: int) -> list[Raw]:
    """Have associations that are served by one thread."""
    peers = scene.peers(count)
    for peer in peers * 2:
        scene.store(peer)
    return peers


@pytest.mark.not_without("epoll", "poll", "windows")
def test_shared_thread_serves_small_objects_of_several_associations(scene: Scene) -> None:
    peers = settled(scene, 4)
    for peer in peers * 10:
        scene.store(peer)
    assert len(set(scene.received.threads[-40:])) == 1
    for peer in peers:
        peer.release()
    scene.check()


def test_associations_may_all_send_at_the_same_time(scene: Scene) -> None:
    peers = scene.peers(5)
    for size in (100, 100, 70_000, 100, 10, 5_000, 200_000, 100, 100):
        for peer in peers:
            peer.send(scene.message(size))
        assert [peer.status() for peer in peers] == [0] * 5
    scene.check()


def test_last_association_goes_on(scene: Scene) -> None:
    peers = settled(scene, 3)
    while peers:
        peers.pop().release()
        for peer in peers * 2:
            scene.store(peer)
    scene.check()


def test_sender_silent_within_an_object_delays_no_other(scene: Scene) -> None:
    """Among them one whose thread serves the others."""
    peers = settled(scene, 4)
    messages = [scene.message(1000) for _ in peers[1:]]
    for peer, message in zip(peers[1:], messages, strict=True):
        peer.send(message[:300])
    for _ in range(3):
        scene.store(peers[0])
    for peer, message in zip(peers[1:], messages, strict=True):
        peer.send(message[300:])
        assert peer.status() == 0
    scene.check()


def test_sender_that_reads_no_responses_delays_no_other(scene: Scene) -> None:
    deaf, *others = settled(scene, 3)
    deaf.socket.settimeout(0)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = 0
    waiting = b""
    while sent < 300:
        waiting = waiting or scene.message(10)
        try:
            waiting = waiting[deaf.socket.send(waiting) :]
        except BlockingIOError:
            break
        sent += not waiting
    for peer in others * 3:
        scene.store(peer)
    deaf.socket.settimeout(WAIT)
    reader = threading.Thread(target=lambda: [deaf.status() for _ in range(sent + bool(waiting))])
    reader.start()
    deaf.send(waiting)
    reader.join(WAIT)
    assert not reader.is_alive()
    scene.check()


def test_sender_that_breaks_the_protocol_is_aborted_and_no_other(scene: Scene) -> None:
    peers = settled(scene, 4)
    peers[0].send(bytes((9, 0, 0, 0, 0, 0)))
    peers[1].send(pdv(1, COMMAND | LAST, store_command(e0100=b"\x77\x77")) + pdv(1, LAST, data_set()))
    assert [isinstance(peer.reply(), Abort) for peer in peers[:2]] == [True, True]
    peers[2].reset()
    for _ in range(3):
        scene.store(peers[3])
    scene.check()


def test_object_is_refused_in_whichever_thread(scene: Scene) -> None:
    peers = settled(scene, 3)
    for peer in peers:
        peer.send(store_message(data_set(CT, "1.2.9")))
        assert peer.status() == 0xA900
    for peer in peers:
        scene.store(peer)
    assert scene.station.files == sorted(f"CT.{name}" for name in scene.sent)


def test_slow_disk_ends_the_sharing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_thread, "_SLOW", 0.0)
    monkeypatch.setattr(shared_thread, "_WHILE", 1e9)
    peers = settled(scene, 3)
    for peer in peers * 3:
        scene.store(peer)
    assert len(set(scene.received.threads[-9:])) == 3
    scene.check()


@pytest.mark.not_without("epoll", "poll", "windows")
def test_single_slow_object_does_not_end_the_sharing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first object loads modules, and any process loses its processor for a while."""
    late = [0.0]
    later = SimpleNamespace(Lock=clock.Lock, Condition=clock.Condition, now=lambda: clock.now() + late[0])
    monkeypatch.setattr(shared_thread, "clock", later)
    monkeypatch.setattr(shared_thread, "_SLOW", 10.0)
    monkeypatch.setattr(shared_thread, "_WHILE", 1e9)
    is_taken = shared_thread.Turns._is_taken

    def slow_once(seat: shared_thread._Seat) -> bool:
        late[0] = 20.0
        return is_taken(seat)

    monkeypatch.setattr(shared_thread.Turns, "_is_taken", staticmethod(slow_once))
    peers = settled(scene, 4)
    for peer in peers * 10:
        scene.store(peer)
    assert late[0]
    assert len(set(scene.received.threads[-40:])) == 1
    scene.check()


@pytest.mark.not_without("epoll", "poll", "windows")
def test_end_that_arrives_with_an_object_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells of both at once, while our thread is at another object."""
    peers = settled(scene, 3)
    busy, go_on = threading.Event(), threading.Event()
    is_served = shared_thread.Turns._is_served

    def slowly(self: shared_thread.Turns, seat: shared_thread._Seat, events: int) -> bool:
        served = is_served(self, seat, events)
        busy.set()
        assert go_on.wait(WAIT)
        return served

    monkeypatch.setattr(shared_thread.Turns, "_is_served", slowly)
    peers[1].send(scene.message())
    assert busy.wait(WAIT)
    peers[0].send(scene.message())
    peers[0].socket.shutdown(socket.SHUT_WR)
    go_on.set()
    assert [peer.status() for peer in peers[:2]] == [0, 0]
    assert peers[0].rest() == []
    scene.check()


def test_close_of_the_listener_ends_shared_associations(scene: Scene) -> None:
    peers = settled(scene, 4)
    scene.station.close()
    for peer in peers:
        assert peer.reply() is None or peer.rest() == []


def test_callback_may_wait_for_another_association(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    station = Station(tmp_path)
    try:
        port = station.listen(sink=OnBytes(lambda _: both.wait(WAIT), concurrent=True).open_receiver, side_by_side=True)
        with Raw(port) as one, Raw(port) as other:
            for _ in range(4):
                for peer in (one, other):
                    if not station.received:
                        peer.associate()
                    peer.send(store_message(data_set()))
                assert (one.status(), other.status()) == (0, 0)
    finally:
        station.close()


def test_request_that_arrives_byte_by_byte_is_served(scene: Scene) -> None:
    peers = settled(scene, 3)
    peers[0].socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in scene.message(10):
        peers[0].send(bytes((byte,)))
    assert peers[0].status() == 0
    scene.store(peers[1])
    peers[0].release()
    scene.check()
