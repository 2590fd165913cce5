"""Sinks: destinations of received objects other than files, a callable or memory; also the value for a directory.

``movescu.storage.receiver`` receives objects into files. A sink holds an object until it is whole, and checks it like
one that is stored: an object that is unreadable, or is not the one that its request named, never reaches the callable,
and its C-STORE response is a failure (C000, A900). If the callable raises, the response is a failure, too (A700), and
the result has the object as not stored.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import warnings
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from movescu._runtime import clock
from movescu.dataset.encoding import Encoding
from movescu.dataset.file_meta import encode_file_meta
from movescu.dataset.transcoder import scan
from movescu.errors import StoreError, UsageError
from movescu.storage.durability import Durability, durability_of
from movescu.storage.options import StorageOptions
from movescu.storage.receiver import check_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydicom import Dataset

    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.layout.template import Layout

Destination: TypeAlias = "str | os.PathLike[str] | Directory | Sink | Callable[[Dataset], object]"
"""Values accepted as the destination of objects."""


class Sink(Protocol):
    """Protocol of a sink: receives objects as they arrive."""

    def open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object; ``incoming`` has its class, instance, transfer syntax and sender.

        May be called from several threads at once. The receiver gets the bytes of the data set as they arrive.
        """


_CANONICAL: Final = Encoding()


class Directory:
    """An existing directory that objects are written into, as the command does.

    ``layout``: a name or a template, as after ``--layout``. Default: ``flat``. ``bit_preserving``: write data sets byte
    for byte as received. Default: False. ``file_format``: write file meta information. Default: True. ``durability``:
    when files are flushed to the disk. Default: before the end of the retrieve. Raise ``UsageError`` for an unusable
    value.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        layout: str = "flat",
        bit_preserving: bool = False,
        file_format: bool = True,
        encoding: Encoding = _CANONICAL,
        durability: Durability | str = Durability.END,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"{path!r} is not the path of a directory")
        self.storage = StorageOptions(
            os.fspath(path),
            bit_preserving=bit_preserving,
            file_format=file_format,
            encoding=encoding,
            durability=durability_of(durability),
            layout=_parsed(layout),
        )


class OnBytes:
    """Calls ``call`` with each object, as the bytes of a PS3.10 file with the data set as received.

    Objects may arrive over several associations at once; the calls are made one at a time, and an object is
    acknowledged after its call has returned. ``concurrent``: make calls in parallel. Default: False.
    """

    def __init__(self, call: Callable[[bytes], object], *, concurrent: bool = False) -> None:
        _refuse_coroutine(call)
        self._call = call
        self._turn: contextlib.AbstractContextManager[object] = contextlib.nullcontext() if concurrent else clock.Lock()

    def open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object."""
        return _Holding(incoming, self._hand_over)

    def _hand_over(self, file: bytes) -> None:
        with self._turn:
            outside = getattr(_inside, "sinks", ())
            _inside.sinks = (*outside, self)
            try:
                returned = self._call(file)
            finally:
                _inside.sinks = outside
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()
            raise TypeError("the sink returned an awaitable, which nothing would await")


class OnDataset(OnBytes):
    """Calls ``call`` with each object, as a ``pydicom.Dataset`` with its file meta; otherwise like ``OnBytes``."""

    def __init__(self, call: Callable[[Dataset], object], *, concurrent: bool = False) -> None:
        _refuse_coroutine(call)
        super().__init__(lambda file: call(read_dataset(file)), concurrent=concurrent)


class Memory:
    """Keeps all objects in memory; iterate over it for their data sets, after the retrieve.

    An object that is received again replaces the earlier one.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """The bytes of each object's PS3.10 file, by SOP instance UID."""

    def open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object."""
        uid = incoming.request.affected_sop_instance_uid
        return _Holding(incoming, lambda file: self.files.__setitem__(uid, file))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Dataset]:
        return map(read_dataset, tuple(self.files.values()))


def _refuse_coroutine(call: Callable[..., object]) -> None:
    """Raise ``UsageError`` for a coroutine function: nothing would await its coroutines."""
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__):
        raise UsageError(
            f"the sink {getattr(call, '__name__', call)!r} is a coroutine function",
            hint="give a plain function; it may hand objects to an event loop with loop.call_soon_threadsafe",
        )


class _Holding:
    """Receiver that holds an object, and passes it to ``hand_over`` when it is whole and valid."""

    def __init__(self, incoming: Incoming, hand_over: Callable[[bytes], None]) -> None:
        self._incoming = incoming
        self._hand_over = hand_over
        self._data = bytearray()

    def write(self, *fragments: memoryview) -> None:
        """Hold the bytes."""
        self._data += b"".join(fragments)

    def finish(self) -> None:
        """Check and pass on the object. Raise ``DataSetError`` if it is invalid, ``StoreError`` if the sink raises."""
        request, syntax = self._incoming.request, self._incoming.context.transfer_syntax
        identity, _ = scan(self._data, syntax, _CANONICAL)
        check_identity(identity, request)
        meta = encode_file_meta(request.affected_sop_class_uid, request.affected_sop_instance_uid, syntax.uid)
        file = meta + self._data
        self._data = bytearray()
        try:
            self._hand_over(file)
        except Exception as error:
            raise StoreError(
                f"the sink raised {type(error).__name__}: {error}",
                hint="the error is in the program's sink, not in the transfer of the objects",
            ) from error

    def discard(self) -> None:
        """Drop the bytes."""
        self._data = bytearray()


def storage_options(destination: Destination) -> StorageOptions:
    """Return the storage options of a destination; a plain callable gets data sets."""
    if isinstance(destination, (str, os.PathLike)):
        destination = Directory(destination)
    if isinstance(destination, Directory):
        return destination.storage
    if hasattr(destination, "open_receiver"):
        return StorageOptions(sink=cast("Sink", destination).open_receiver)
    if not callable(destination):
        raise UsageError(
            f"{destination!r} is not a destination", hint="give a directory, a sink, or a callable that takes data sets"
        )
    return StorageOptions(sink=OnDataset(destination).open_receiver)


_inside = threading.local()
"""The sinks whose callables this thread is running."""


def refuse_inside(sink: Callable[[Incoming], ObjectReceiver] | None) -> None:
    """Raise ``UsageError`` inside the callable of the same sink, which would wait for itself."""
    if getattr(sink, "__self__", None) in getattr(_inside, "sinks", ()):
        raise UsageError(
            "retrieve() inside the callable that receives its objects",
            hint="pass the work to another thread: the callable is not called again before it returns",
        )


def read_dataset(file: bytes) -> Dataset:
    """Parse the bytes of a PS3.10 file."""
    from io import BytesIO

    from pydicom import dcmread  # late: slow to load, and needed for data sets alone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid values are the sender's fault; the program decides about them
        return dcmread(BytesIO(file))


def _parsed(layout: str) -> Layout | None:
    from movescu.storage.layout.template import parse_layout

    return parse_layout(layout)
