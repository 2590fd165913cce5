"""The fuzz targets by name: function, errors that it may raise, and maximum length of inputs.

``run`` fuzzes them, ``tests/test_fuzz.py`` replays their corpora. Any exception that is not in ``raises`` is a bug,
including a failed ``assert``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import given
import peer

from movescu.cli.options.wishes import Wish
from movescu.errors import CommandLineError, DataSetError, ProtocolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Target(NamedTuple):
    """One target; ``longest`` is the maximum length of inputs in bytes. Default: 4096."""

    run: Callable[[bytes], None]
    raises: tuple[type[Exception], ...]
    longest: int = 4096

    def __call__(self, data: bytes) -> None:
        """Run the target on one input."""
        with suppress(*self.raises):
            self.run(data)


_PROTOCOL: Final = (ProtocolError,)
_DATA_SET: Final = (DataSetError,)
_USAGE: Final = (UsageError,)
_COMMAND_LINE: Final = (CommandLineError, Wish)

TARGETS: Final = {
    "pdu": Target(peer.pdu, _PROTOCOL),
    "association": Target(peer.association, (), 2048),
    "command": Target(peer.command, (), 1024),
    "data_set": Target(peer.data_set, _DATA_SET),
    "query_dicom": Target(given.query("query"), _USAGE),
    "query_json": Target(given.query("query.json"), _USAGE),
    "query_dump": Target(given.query("query.dump"), _USAGE),
    "keys": Target(given.keys, _USAGE, 1024),
    "request_list": Target(given.request_list, _USAGE, 1024),
    "dictionary": Target(given.dictionary_file, _USAGE),
    "log_properties": Target(given.log_properties, _USAGE),
    "log_python": Target(given.log_python, _USAGE),
    "access": Target(given.access, ()),
    "command_file": Target(given.command_file, _COMMAND_LINE, 1024),
    "sites": Target(given.sites, (*_COMMAND_LINE, UsageError), 1024),
}
