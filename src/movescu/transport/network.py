"""The seam of sockets, and of the waits on them: every socket of this package is made, and awaited, by this module.

A simulation replaces the attributes (``tests/simulated``) by sockets of its own, so they are used as
``network.socket()``; see ``_runtime.clock``. The methods of a socket, and of what ``poll`` and ``epoll`` return, belong
to the seam. TLS wraps real sockets only.
"""

from __future__ import annotations

import os
import select
from socket import getaddrinfo, getnameinfo, has_dualstack_ipv6, socket, socketpair

TYPE_CHECKING = False
if TYPE_CHECKING or hasattr(select, "poll"):
    from select import POLLIN, POLLOUT, poll
else:  # Windows
    from movescu.transport.poll_by_select import POLLIN, POLLOUT, poll

__all__ = [
    "POLLIN",
    "POLLOUT",
    "duplicate",
    "epoll",
    "getaddrinfo",
    "getnameinfo",
    "has_dualstack_ipv6",
    "poll",
    "shutdown",
    "socket",
    "socketpair",
]

shutdown = socket.shutdown
"""The method of a plain socket, for one of TLS, too, whose own is not thread-safe."""
epoll = getattr(select, "epoll", None)
"""Wait on many descriptors; None where the system has none."""


def duplicate(descriptor: int) -> socket:
    """Return a second socket of the connection that a descriptor refers to."""
    return socket(fileno=os.dup(descriptor))
