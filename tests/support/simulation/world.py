"""A whole retrieve in a simulated world: our client, the archive of ``movescu.testing``, a network, a disk, a clock.

``World`` stands in at the seams while it is entered. ``World.retrieve`` runs one retrieve through ``Client`` and
returns what the user is told; ``acknowledged`` is the sender's own record of what it was told.
"""

from __future__ import annotations

import contextlib
import gc
import random
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from encoded import CLASS_UID, ELE, el

from movescu import AE, Client, Directory, Receive, Request, Retry, Timeouts
from movescu._runtime import clock
from movescu.dataset.file_meta import encode_file_meta
from movescu.errors import MovescuError
from movescu.query.python_keys import identifier_of
from movescu.retrieve.config import Config, RetrieveBy
from movescu.storage import files
from movescu.testing import Archive, Faults
from movescu.testing.query import stored_tags
from movescu.testing.stored_objects import StoredObjects
from movescu.testing.suboperations import _Sender
from movescu.transport import network
from simulation.disk import PATH, Disk
from simulation.network import HOST, Network
from simulation.threads import CrashError, Scheduler, replacements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from movescu.retrieve.result import Result

PORT = 11112
STUDY = "1.2.826"
PIXELS = 100_000


def _text(tag: int, vr: str, value: str) -> bytes:
    data = value.encode()
    return el(tag, vr, data + (b"\0" if vr == "UI" else b" ") * (len(data) & 1))


def data_set(number: int, size: int) -> tuple[str, bytes]:
    """Return SOP instance UID and data set of an object that is like no other."""
    uid = f"{STUDY}.1.{number}"
    pixels = random.Random(number).randbytes(size // 2 * 2)
    return uid, b"".join(
        (
            _text(0x00080016, "UI", CLASS_UID),
            _text(0x00080018, "UI", uid),
            _text(0x00100020, "LO", "P1"),
            _text(0x0020000D, "UI", STUDY),
            _text(0x0020000E, "UI", f"{STUDY}.1"),
            _text(0x00200013, "IS", str(number)),
            el(0x00280010, "US", struct.pack("<H", number)),
            el(0x7FE00010, "OW", pixels),
        )
    )


@cache
def study(count: int, large: int = 1) -> Mapping[str, bytes]:
    """The data sets of a study by SOP instance UID; the last ``large`` ones do not fit into a PDU."""
    return dict(data_set(n, PIXELS if n > count - large else 200 + 50 * n) for n in range(1, count + 1))


@cache
def stored(count: int, large: int) -> StoredObjects:
    index = StoredObjects(stored_tags())
    for uid, data in study(count, large).items():
        index.add(encode_file_meta(CLASS_UID, uid, ELE) + data)
    return index


class Told:
    """What the user of a retrieve is told: its result or its error; neither after a crash."""

    def __init__(self, result: Result | None, error: BaseException | None) -> None:
        self.result = result
        self.error = error

    @property
    def outcome(self) -> str:
        if self.result is None:
            return "crashed" if isinstance(self.error, CrashError) else type(self.error).__name__
        return self.result.outcome

    @property
    def complete(self) -> bool:
        return self.outcome == "complete"


class World:
    """A world, determined by its seed. ``count`` objects are in the archive, the last ``large`` ones large.

    ``associations``: of the sender at a time. ``short``: how often a socket moves fewer bytes than it could.
    ``switching``: how often the call of a seam changes the thread. ``by``: see ``Client``'s ``retrieve``.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        count: int = 5,
        large: int = 1,
        associations: int = 1,
        switching: float = 0.0,
        short: float = 0.0,
        unnamed: bool = True,
        syncfs: bool = True,
        faults: Faults | None = None,
        by: str = "move",
    ) -> None:
        self.by = by
        self.scheduler = Scheduler(seed, switching)
        self.network = Network(self.scheduler, short=short)
        self.disk = Disk(self.scheduler, unnamed=unnamed, syncfs=syncfs)
        self.acknowledged: list[str] = []
        """SOP instance UIDs of the objects for which the sender got a response of success."""
        self.objects = study(count, large)
        self._stored = stored(count, large)
        self._associations = associations
        self.faults = faults or Faults()
        self._seed = seed
        self._stack = contextlib.ExitStack()

    def on(self, disk: Disk) -> Self:
        """Have another disk, that of an earlier world."""
        disk.scheduler = self.scheduler
        self.disk = disk
        return self

    def __enter__(self) -> Self:
        seams: list[tuple[Any, Mapping[str, Any]]] = [
            (clock, replacements(self.scheduler)),
            (network, self.network.replacements()),
            (files, self.disk.replacements()),
            (_Sender, {"_store": self._recording(_Sender._store)}),
        ]
        for seam, stand_ins in seams:
            for name, replacement in stand_ins.items():
                self._stack.callback(setattr, seam, name, getattr(seam, name))
                setattr(seam, name, replacement)
        self._stack.callback(self._end)
        random.seed(self._seed)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self.scheduler.drain()
        if self.scheduler.crashed:
            gc.collect()  # what a crash left behind must not close descriptors of the real machine
        assert not self.scheduler.failures, "".join(self.scheduler.failures)

    def _recording(self, store: Callable[..., int]) -> Callable[..., int]:
        def recording(sender: Any, *arguments: Any) -> int:
            status = store(sender, *arguments)
            if status == 0:
                self.acknowledged.append(arguments[3].sop_instance_uid)
            return status

        return recording

    @contextlib.contextmanager
    def archive(self) -> Iterator[Archive]:
        archive = Archive(
            None, {"MOVESCU": (HOST, PORT)}, host=HOST, associations=self._associations, faults=self.faults
        )
        archive._index.add_all(self._stored)
        with archive:
            yield archive

    def retrieve(
        self,
        *,
        durability: str = "end",
        layout: str = "flat",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - records do not change
        retry: Retry = Retry(),  # noqa: B008
        as_command: bool = False,
    ) -> Told:
        """Retrieve the study, and close the client and the archive.

        ``as_command``: as the command does, which closes the port before the count and lets associations share a
        thread; else as a program does by ``Client.retrieve``.
        """
        request = Request(model="STUDY", maximum_length=16384, ip="4")
        to = Directory(PATH, durability=durability, layout=layout)
        keys = {"StudyInstanceUID": STUDY}
        port = None if self.by == "get" else PORT
        result = None
        try:
            with self.archive() as archive:
                ae = AE(HOST, archive.port, "ARCHIVE")
                if as_command:
                    config = Config(
                        ae,
                        timeouts=timeouts,
                        retry=retry,
                        receive=Receive(port),
                        request=request,
                        retrieve_by=RetrieveBy(self.by),
                    )
                    client = Client.configured(config, to.storage, indexed=retry.resume)
                    with client:
                        result = client.prepare((identifier_of(keys)[0],)).run()
                        client.release()
                else:
                    settings: Any = {"timeouts": timeouts, "retry": retry, "request": request, "retrieve": self.by}
                    with Client(ae, listen=port, to=to, **settings) as client:
                        result = client.retrieve(keys)
        except (MovescuError, OSError, CrashError) as error:
            return Told(None if isinstance(error, CrashError) else result, error)
        return Told(result, None)
