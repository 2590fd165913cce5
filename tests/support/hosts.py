"""Hosts of a network of their own: network namespaces of Linux, joined by a bridge in a further one.

Addresses, ports, routes and firewalls are real, and nobody else's. Root alone can make them, not in every container.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NETWORK = "10.213.7"
_numbers = itertools.count()


class Host:
    """A host. ``name``: of its namespace."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"{_NETWORK}.{number}"

    @property
    def prefix(self) -> list[str]:
        """What before a command runs it there."""
        return ["ip", "netns", "exec", self.name]

    def ip(self, *commands: str) -> None:
        """Have ``ip`` carry out commands there."""
        _ip(commands, "-n", self.name)

    def set(self, name: str, value: int) -> None:
        """Set a variable of its kernel's network."""
        subprocess.run([*self.prefix, "sh", "-c", f"echo {value} >/proc/sys/net/{name}"], check=True)

    def close(self, port: int) -> None:
        """Send nothing from a port, as behind a firewall that drops without a word."""
        self.ip(f"rule add ipproto tcp sport {port} blackhole")

    def isolate(self, other: Host) -> None:
        """Leave it without a route to another host."""
        self.ip(f"route add unreachable {other.address}/32")


@contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """So many hosts that reach each other; skip the test where they cannot be made."""
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("needs root, for network namespaces")
    stem = f"movescu-{os.getpid()}-{next(_numbers)}"
    made = [Host(f"{stem}-{one}", one) for one in range(1, number + 1)]
    first, others = made[0], made[1:]
    try:
        try:
            _ip([f"netns add {one.name}" for one in made])
            first.ip("link add bridge type bridge", f"addr add {first.address}/24 dev bridge", "link set bridge up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
        first.ip("link set lo up")
        for place, one in enumerate(others):
            end = f"end{place}"
            first.ip(
                f"link add {end} type veth peer name wire netns {one.name}",
                f"link set {end} master bridge",
                f"link set {end} up",
            )
            one.ip("link set lo up", f"addr add {one.address}/24 dev wire", "link set wire up")
        yield made
    finally:
        for one in made:
            subprocess.run(["ip", "netns", "del", one.name], check=False, capture_output=True)


def _ip(commands: Sequence[str], *options: str) -> None:
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["ip", *options, "-batch", "-"], check=True, input=text, capture_output=True, text=True)
