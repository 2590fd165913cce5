"""``poll`` by ``select``, for systems without it (Windows): on sockets alone, and on 512 of them at most."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import Final

POLLIN: Final = 1
POLLOUT: Final = 4


class poll:  # noqa: N801 - the name that the standard library has
    """What ``select.poll()`` returns, as far as it is used here."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, descriptor: int | socket, events: int) -> None:
        """Wait for these events of a descriptor, too."""
        self._events[descriptor if isinstance(descriptor, int) else descriptor.fileno()] = events

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, with their events; None waits without limit."""
        inputs = [fd for fd, events in self._events.items() if events & POLLIN]
        outputs = [fd for fd, events in self._events.items() if events & POLLOUT]
        seconds = None if milliseconds is None else max(milliseconds, 0) / 1000
        readable, writable, failed = select.select(inputs, outputs, outputs, seconds)
        ready = dict.fromkeys(readable, POLLIN)
        for fd in {*writable, *failed}:
            ready[fd] = ready.get(fd, 0) | POLLOUT
        return list(ready.items())
