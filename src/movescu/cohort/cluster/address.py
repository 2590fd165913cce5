"""Where the workers of a cohort are (``--cluster``), and the titles that they receive under (``--ae-pool``)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from movescu._runtime.record import Record
from movescu.errors import UsageError
from movescu.retrieve.config import AE

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOCAL: Final = "local:"
_PLAIN: Final = "plain:"
_TLS: Final = "tls://"
_TCP: Final = "tcp://"
_HIGHEST_PORT: Final = 65535
_MOST: Final = 256
"""Highest number of local workers."""


class ClusterAddress(Record):
    """Where the workers are.

    ``local``: number of worker processes to start on this machine. Default: 0, none. ``scheduler``: address of a
    running scheduler. Default: empty. ``file``: file that a scheduler wrote its address to. Default: empty. ``plain``:
    connections need no TLS. Default: False.
    """

    local: int = 0
    scheduler: str = ""
    file: str = ""
    plain: bool = False

    @classmethod
    def parse(cls, text: str) -> ClusterAddress:
        """Parse ``local:N``, ``tls://host:port``, or a file name; ``plain:`` before it allows connections without TLS.

        Raise ``UsageError`` for any other text.
        """
        if text.startswith(_LOCAL):
            number = text.removeprefix(_LOCAL)
            if not (re.fullmatch("[0-9]{1,3}", number) and 1 <= int(number) <= _MOST):
                raise UsageError(f"{text!r}: not a number of workers from 1 to {_MOST}", hint="write it as local:4")
            return cls(local=int(number))
        plain, rest = text.startswith(_PLAIN), text.removeprefix(_PLAIN)
        if rest.startswith(_TCP) and not plain:
            raise UsageError(
                f"connections to {rest} are not encrypted, and whoever reaches the scheduler controls the workers",
                hint=f"encrypt them with tls://, or write {_PLAIN}{rest} in a network that nobody else can reach",
            )
        if rest.startswith((_TLS, _TCP)):
            if not re.fullmatch(r"//.*:[0-9]+/?", rest.partition(":")[2]):
                raise UsageError(f"{rest} has no port", hint=f"write it as {rest.rstrip('/:')}:8786")
            port = rest.rstrip("/").rpartition(":")[2]
            if len(port) > 5 or not 1 <= int(port) <= _HIGHEST_PORT:
                raise UsageError(f"{port} is not a port number", hint=f"give one from 1 to {_HIGHEST_PORT}")
            return cls(scheduler=rest, plain=plain)
        if "://" in rest or not rest:
            raise UsageError(
                f"{text!r} does not name a cluster", hint="write it as local:4, tls://host:port, or a file name"
            )
        if re.fullmatch(r"[^/\\]+:[0-9]+", rest):  # a file of such a name can be written as ./name
            raise UsageError(f"{text!r} does not name a cluster", hint=f"write it as local:4 or tls://{rest}")
        return cls(file=rest, plain=plain)


def parse_pool(lines: Iterable[str]) -> tuple[AE, ...]:
    """Parse the titles of workers: title, host and port in each line. Raise ``UsageError`` for an invalid line."""
    found: dict[str, AE] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        cells = [cell.strip() for cell in text.split(",")] if "," in text else text.split()
        if len(cells) != 3 or not (cells[2].isascii() and cells[2].isdigit()):
            raise UsageError(f"line {number} has no title, host and port", hint="write it as WORKER1 host1 11113")
        try:
            ae = AE(cells[1], int(cells[2]), cells[0])
        except UsageError as error:
            raise UsageError(f"line {number}: {error}", hint=error.hint) from error
        if found.setdefault(ae.title, ae) is not ae:
            raise UsageError(f"line {number} repeats the title {ae.title}", hint="give each worker a title of its own")
        if any((one.host, one.port) == (ae.host, ae.port) for one in found.values() if one is not ae):
            raise UsageError(f"line {number} repeats {ae.host} port {ae.port}", hint="give each worker its own port")
    if not found:
        raise UsageError("no line names a worker", hint="write each as WORKER1 host1 11113")
    return tuple(found.values())


def read_pool(path: str) -> tuple[AE, ...]:
    """Read the titles of workers from a file. Raise ``UsageError`` if that fails."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return parse_pool(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the titles of workers from {os.fspath(path)!r}: {reason}") from error
    except UsageError as error:
        raise UsageError(f"{os.fspath(path)!r}: {error}", hint=error.hint) from error
