"""A few files of each series, from which a page tells what the series is, and shows its middle image.

An object's path is noted when it gets its file, in the thread that then sends its event. Of a series with many objects
every second, fourth, ... is kept. Heads are read at the end, one for each series.
"""

from __future__ import annotations

import os
from threading import get_ident
from typing import TYPE_CHECKING, Final

from movescu.storage.index.examination import head_in

if TYPE_CHECKING:
    from movescu.events import ObjectEvent

_KEPT: Final = 16
"""Files of a series that are kept at most."""
_LENGTH: Final = 500
"""Characters of a label that are kept: some are written by machines."""
_LABELS: Final = {
    0x00080060: "modality",
    0x0008103E: "series",
    0x00200011: "number",
    0x00080020: "date",
    0x00081030: "study",
    0x00100010: "patient",
    0x00100020: "id",
}
_INSTANCE_NUMBER: Final = 0x00200013


class _Series:
    """Paths of some files of a series, in the order of their arrival."""

    __slots__ = ("count", "every", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.every = 1
        self.count = 0

    def add(self, path: str) -> None:
        if self.count % self.every == 0:
            self.paths.append(path)
            if len(self.paths) > _KEPT:
                self.paths = self.paths[::2]
                self.every *= 2
        self.count += 1


class Samples:
    """Files of the series that a run stores below ``directory``. Events are added one at a time."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.abspath(directory)
        self._latest: dict[int, tuple[str, str]] = {}  # by thread
        self._series: dict[str, _Series] = {}

    def on_whole(self, sop_instance_uid: str, path: str) -> None:
        """Note the path of an object; see ``Target``."""
        self._latest[get_ident()] = sop_instance_uid, path

    def add(self, event: ObjectEvent) -> None:
        """Add a stored object, in the thread that stored it."""
        uid, path = self._latest.get(get_ident(), ("", ""))
        if uid == event.sop_instance_uid and event.series_instance_uid:
            series = self._series.get(event.series_instance_uid)
            if series is None:
                series = self._series[event.series_instance_uid] = _Series()
            series.add(path)

    def labels(self) -> dict[str, dict[str, str]]:
        """Return what the objects say of each series, by Series Instance UID; empty values are left out."""
        tags = frozenset(_LABELS)
        return {uid: _named(_head(self._path(series.paths[0]), tags)) for uid, series in self._series.items()}

    def middles(self) -> dict[str, str]:
        """Return the path of the file in the middle of each series, by Instance Number, among those kept."""
        return {uid: self._path(_middle(self._directory, series.paths)) for uid, series in self._series.items()}

    def _path(self, path: str) -> str:
        return os.path.join(self._directory, path)


def _middle(directory: str, paths: list[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    wanted = frozenset({_INSTANCE_NUMBER})
    numbered = [(_number(_head(os.path.join(directory, path), wanted)), path) for path in paths]
    return sorted(numbered)[(len(numbered) - 1) // 2][1]


def _number(head: dict[int, str]) -> int:
    try:
        return int(head.get(_INSTANCE_NUMBER, ""))
    except ValueError:
        return 0


def _named(head: dict[int, str]) -> dict[str, str]:
    return {_LABELS[tag]: value[:_LENGTH] for tag, value in head.items() if value}


def _head(path: str, tags: frozenset[int]) -> dict[int, str]:
    """Return values of an object; nothing if its file is gone or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        return head_in(fd, tags)
    finally:
        os.close(fd)
