"""The lines of a manifest: SHA-256 and path of a file, as ``sha256sum`` writes and reads them.

Paths have slashes on every system, so that the manifest of a run on Windows can be checked elsewhere.
"""

from __future__ import annotations

import os
import re
from typing import Final

_LINE: Final = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)\Z", re.DOTALL)
_ESCAPES: Final = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_UNESCAPED: Final = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def with_slashes(path: bytes) -> bytes:
    """Return a path of this system with slashes between its parts."""
    return path.replace(os.sep.encode(), b"/")


def manifest_line(path: bytes, digest: bytes) -> bytes:
    """Return a line; a name with a backslash or line end is escaped."""
    name = path
    for character, escape in _ESCAPES:
        name = name.replace(character, escape)
    return b"%b%b  %b\n" % (b"" if name == path else b"\\", digest, name)


def parse_manifest_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return path and digest of a line without its end, None if it is none."""
    match = _LINE.match(line)
    if match is None:
        return None
    escaped, digest, name = match.groups()
    return (_ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[0]), name) if escaped else name), digest
