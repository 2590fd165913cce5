"""Where received objects go instead of files: to a callable, or to memory; and a directory, said in one word.

``movescu.storage.receiver`` has what receives an object into a file; here are those of programs that want to have it.
An object is held until it is whole, and checked as one that is stored is: what cannot be read, or is not what its
request said, never comes to the callable, and its sender is told so (C000, A900). If the callable raises, the sender is
told that the object could not be kept (A700), and so is the result.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import warnings
from typing import TYPE_CHECKING, Final, TypeAlias

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

Destination: TypeAlias = "str | os.PathLike[str] | Directory | Memory | OnBytes | Callable[[Dataset], object]"
"""What a program may name as the place where objects go."""

_CANONICAL: Final = Encoding()


class Directory:
    """An existing directory that objects are written into, as the command does it; ``storage`` has the terms of it.

    ``layout``: a name or a template (``storage.layout.template``). Raise ``UsageError`` if it is none.
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
        self.storage = StorageOptions(
            os.fspath(path),
            bit_preserving=bit_preserving,
            file_format=file_format,
            encoding=encoding,
            durability=durability_of(durability),
            layout=_parsed(layout),
        )


class OnBytes:
    """Calls ``call`` with each object, as the bytes of a file of PS3.10 with the data set as it was received.

    Objects come in over several associations at once: one call is made at a time, and the next object is not
    acknowledged before it has returned, unless ``concurrent`` is set.
    """

    def __init__(self, call: Callable[[bytes], object], *, concurrent: bool = False) -> None:
        _refuse_coroutine(call)
        self._call = call
        self._turn: contextlib.AbstractContextManager[object] = (
            contextlib.nullcontext() if concurrent else threading.Lock()
        )

    def open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return what receives an object."""
        return _Holding(incoming, self._hand_over)

    def _hand_over(self, file: bytes) -> None:
        with self._turn:
            returned = self._call(file)
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()
            raise TypeError("it returned an awaitable, which nothing would await")


class OnDataset(OnBytes):
    """Calls ``call`` with each object, as a ``pydicom.Dataset`` with its file meta; see ``OnBytes``."""

    def __init__(self, call: Callable[[Dataset], object], *, concurrent: bool = False) -> None:
        _refuse_coroutine(call)
        super().__init__(lambda file: call(read_dataset(file)), concurrent=concurrent)


class Memory:
    """Keeps all objects in memory: iterate over it for their data sets, once the retrieve has ended.

    An object that comes again takes the place of the one that was there.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """By SOP instance UID, the bytes of a file of PS3.10."""

    def open_receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return what receives an object."""
        uid = incoming.request.affected_sop_instance_uid
        return _Holding(incoming, lambda file: self.files.__setitem__(uid, file))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Dataset]:
        return map(read_dataset, tuple(self.files.values()))


def _refuse_coroutine(call: Callable[..., object]) -> None:
    """Raise ``UsageError`` for a coroutine function: nothing would await what it returns."""
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__):
        raise UsageError(
            f"the sink {getattr(call, '__name__', call)!r} is a coroutine function",
            hint="give a plain function; it may hand objects to an event loop with loop.call_soon_threadsafe",
        )


class _Holding:
    """Receives an object, and hands it over when it is whole and sound."""

    def __init__(self, incoming: Incoming, hand_over: Callable[[bytes], None]) -> None:
        self._incoming = incoming
        self._hand_over = hand_over
        self._data = bytearray()

    def write(self, *fragments: memoryview) -> None:
        """Hold the bytes."""
        self._data += b"".join(fragments)

    def finish(self) -> None:
        """Check the object, and hand it over. Raise ``DataSetError``, and ``StoreError`` if it was not taken."""
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
                hint="the error is one of the program that asked for the objects, not of their transfer",
            ) from error

    def discard(self) -> None:
        """Drop what is held."""
        self._data = bytearray()


def storage_options(destination: Destination) -> StorageOptions:
    """Say where a program wants its objects, in the terms of the receiver; a plain callable is given data sets."""
    if isinstance(destination, (str, os.PathLike)):
        destination = Directory(destination)
    if isinstance(destination, Directory):
        return destination.storage
    sink = destination if isinstance(destination, (Memory, OnBytes)) else OnDataset(destination)
    return StorageOptions(sink=sink.open_receiver)


def read_dataset(file: bytes) -> Dataset:
    """Read the bytes of a file of PS3.10."""
    from io import BytesIO

    from pydicom import dcmread  # 200 ms, for those alone who want data sets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break a rule are the sender's, and the program's to judge
        return dcmread(BytesIO(file))


def _parsed(layout: str) -> Layout | None:
    from movescu.storage.layout.template import parse_layout

    return parse_layout(layout)
