"""Sinks over real associations: the objects that the program gets, and the responses to the sender."""

from __future__ import annotations

import functools
import threading
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmread

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import UsageError
from movescu.services.store import Received, StorageSCP
from movescu.storage.durability import Durability
from movescu.storage.receiver import receiver_factory
from movescu.storage.sinks import Destination, Directory, Memory, OnBytes, OnDataset, storage_options
from movescu.storage.writer import OutputDirectory
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CT = "1.2.840.10008.5.1.4.1.1.2"
WAIT = 20.0


def a_data_set(uid: str, rest: bytes = b"\x10\0\x10\0PN\x08\0Doe^Jane") -> bytes:
    value = uid.encode() + b"\0" * (len(uid) & 1)
    head = b"\x08\0\x16\0UI" + (len(CT) + 1).to_bytes(2, "little") + CT.encode() + b"\0"
    return head + b"\x08\0\x18\0UI" + len(value).to_bytes(2, "little") + value + rest


class Station:
    """A storage SCP that gives what it receives to a destination."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._listeners: list[Listener] = []

    def open(self, destination: Destination) -> int:
        options = storage_options(destination)
        directory = OutputDirectory(options.directory) if options.to_files else None
        factory = receiver_factory(options, directory)
        scp = StorageSCP(AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,)), factory, self.received.append)
        self._listeners.append(Listener(listen("127.0.0.1", 0), scp.serve))
        return self._listeners[-1].port

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def station() -> Iterator[Station]:
    made = Station()
    yield made
    made.close()


def send(port: int, *objects: tuple[str, bytes]) -> list[int]:
    """Send objects over one association; gives the statuses."""
    request = AssociateRQ("ANY", "SENDER", propose([CT], [EXPLICIT_LITTLE]), user_information(0))
    connection = Connection.request(connect("127.0.0.1", port, WAIT), request, WAIT)
    exchange, deadline = Exchange(connection), Deadline(WAIT, "the answer")
    statuses = []
    for number, (uid, data) in enumerate(objects):
        exchange.send(1, CStoreRQ(CT, number + 1, uid), deadline, data)
        response = exchange.receive_response(deadline)[1]
        assert isinstance(response, CStoreRSP)
        statuses.append(response.status)
    connection.release(deadline)
    return statuses


def test_callable_gets_data_sets_with_their_file_meta(station: Station) -> None:
    taken: list[Dataset] = []
    assert send(station.open(taken.append), ("1.2.3", a_data_set("1.2.3"))) == [0]
    [dataset] = taken
    assert (dataset.PatientName, dataset.SOPInstanceUID) == ("Doe^Jane", "1.2.3")
    assert dataset.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE.uid


def test_callable_can_get_the_bytes_of_a_file(station: Station) -> None:
    taken: list[bytes] = []
    assert send(station.open(OnBytes(taken.append)), ("1.2.3", a_data_set("1.2.3"))) == [0]
    assert taken[0].endswith(a_data_set("1.2.3"))
    assert dcmread(BytesIO(taken[0])).PatientName == "Doe^Jane"


def test_memory_has_each_object_once(station: Station) -> None:
    memory = Memory()
    port = station.open(memory)
    objects = [(uid, a_data_set(uid)) for uid in ("1.2.3", "1.2.4", "1.2.3")]
    assert send(port, *objects) == [0, 0, 0]
    assert len(memory) == 2
    assert [str(dataset.SOPInstanceUID) for dataset in memory] == ["1.2.3", "1.2.4"]
    assert set(memory.files) == {"1.2.3", "1.2.4"}


def test_exception_of_the_callable_is_a_reported_failure_and_the_next_object_is_received(station: Station) -> None:
    taken: list[str] = []

    def take(dataset: Dataset) -> None:
        if dataset.SOPInstanceUID == "1.2.3":
            raise KeyError("no place for it")
        taken.append(str(dataset.SOPInstanceUID))

    port = station.open(take)
    assert send(port, ("1.2.3", a_data_set("1.2.3")), ("1.2.4", a_data_set("1.2.4"))) == [0xA700, 0]
    assert taken == ["1.2.4"]
    error = station.received[0].error
    assert error
    assert isinstance(error.__cause__, KeyError)
    assert "KeyError: 'no place for it'" in str(error)


@pytest.mark.parametrize(
    ("data", "status"),
    [(a_data_set("1.2.3")[:-2], 0xC000), (b"", 0xC000), (b"\x08\0\x16\0UI\0\0", 0xC000), (a_data_set("6.6.6"), 0xA900)],
)
def test_invalid_object_never_reaches_the_program(station: Station, data: bytes, status: int) -> None:
    memory, taken = Memory(), list[Dataset]()
    for destination in (memory, taken.append):
        assert send(station.open(destination), ("1.2.3", data)) == [status]
    assert not memory.files
    assert not taken


@pytest.mark.parametrize("concurrent", [False, True])
def test_calls_are_made_one_at_a_time_unless_concurrent(station: Station, *, concurrent: bool) -> None:
    together = threading.Barrier(2)
    inside: list[str] = []
    most = 0

    def take(dataset: Dataset) -> None:
        nonlocal most
        inside.append(str(dataset.SOPInstanceUID))
        most = max(most, len(inside))
        if concurrent:
            together.wait(WAIT)
        inside.pop()

    port = station.open(OnDataset(take, concurrent=concurrent))
    threads = [threading.Thread(target=send, args=(port, (uid, a_data_set(uid)))) for uid in ("1.2.3", "1.2.4")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [received.status for received in station.received] == [0, 0]
    assert most == 1 + concurrent


def test_directory_has_a_layout(station: Station, tmp_path: Path) -> None:
    port = station.open(Directory(tmp_path, layout="{PatientName}/{SOPInstanceUID}.dcm"))
    assert send(port, ("1.2.3", a_data_set("1.2.3"))) == [0]
    assert dcmread(tmp_path / "Doe^Jane" / "1.2.3.dcm").SOPInstanceUID == "1.2.3"
    (tmp_path / "flat").mkdir()
    assert send(station.open(str(tmp_path / "flat")), ("1.2.3", a_data_set("1.2.3"))) == [0]
    assert (tmp_path / "flat" / "CT.1.2.3").exists()
    with pytest.raises(UsageError):
        Directory(tmp_path, layout="{Nonsense}")


async def coroutine(_: object) -> None:
    """Would never be awaited."""


class Awaited:
    """Has a call that would never be awaited."""

    async def __call__(self, _: object) -> None:
        """See above."""


@pytest.mark.parametrize("sink", [coroutine, Awaited()])
def test_coroutine_function_is_refused_as_a_sink(sink: object) -> None:
    for make in (storage_options, OnBytes, OnDataset):
        with pytest.raises(UsageError, match="coroutine"):
            make(sink)  # type: ignore[arg-type, call-overload, unused-ignore]


def test_object_whose_sink_returns_an_awaitable_is_refused(station: Station) -> None:
    port = station.open(OnBytes(functools.partial(lambda call, data: call(data), coroutine)))
    assert send(port, ("1.2.3", a_data_set("1.2.3"))) == [0xA700]


def test_durability_can_be_given_as_a_word(tmp_path: Path) -> None:
    assert Directory(tmp_path, durability="object").storage.durability is Durability.OBJECT
    with pytest.raises(UsageError, match="durability 'sometimes' is not one of end, object, off"):
        Directory(tmp_path, durability="sometimes")
