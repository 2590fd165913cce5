"""The files that a run writes: no two of them, and none that it reads or keeps, may be the same.

Nor may one replace an object or the evidence of an earlier run. The names of this program's own files in an output
directory are refused, whether such a file exists or not. Of existing files, only text is replaced, and no manifest:
what this program writes is text, while an object, with or without file meta, and a database are not.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import stat

from movescu.errors import UsageError
from movescu.storage.manifest_lines import parse_manifest_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.cli.options.settings import CommandSettings

STANDARD_OUTPUT: Final = "-"
_ANOTHER: Final = "name another file"
_OWN: Final = ".movescu"
"""How the names of this program's own files in an output directory begin."""
_DATABASE: Final = "", "-wal", "-shm", "-journal"  # ends of the names of SQLite's files
_DICOM: Final = b"DICM"
_PREAMBLE: Final = 128  # bytes before it (PS3.10)
_BLOCK: Final = 4096  # bytes of an existing file that are read
_CONTROL: Final = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]").search  # ESC is in texts of ISO 2022


def check_output_files(settings: CommandSettings) -> None:
    """Raise ``UsageError`` if an output would overwrite a file that the run reads or keeps, or another output."""
    printed = [option for option, path in _printed(settings) if path == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise UsageError(f"only one of {' and '.join(printed)} can go to standard output")
    from movescu.cohort.journal_file import journal_path  # late: few runs have files for programs

    journal = journal_path(settings.output_directory, settings.journal)
    inputs = [
        ("--list", settings.list_file),
        *(("the query file", path) for path in settings.query_files),
        *(("the journal", f"{journal}{end}") for end in _DATABASE),
        ("--ae-pool", settings.ae_pool),
        ("--log-config", settings.log_config),
        ("--password-file", settings.password_file),
        ("--kerberos", settings.kerberos_file),
        ("--saml", settings.saml_file),
        ("--jwt", settings.jwt_file),
        *(("--enable-tls", path) for path in settings.tls or ()),
        *(("--add-cert-file", path) for path in settings.tls_trusted_files),
        *(("--add-crl-file", path) for path in settings.tls_crl_files),
    ]
    outputs = [
        ("--events", settings.events),
        ("--report", settings.report),
        ("--html", settings.html),
        ("--failed", settings.failed),
        ("--manifest", settings.manifest),
    ]
    seen = {_file(path): option for option, path in inputs if path is not None and path != STANDARD_OUTPUT}
    for option, path in outputs:
        if path is None or (path == STANDARD_OUTPUT and option != "--manifest"):
            continue
        other = seen.setdefault(_file(path), option)
        if other != option:
            raise UsageError(f"{other} and {option} name the same file: {path!r}", hint="name another one")
        if option != "--manifest" or settings.check_files is None:  # which reads it
            check_name(path)


def check_name(path: str) -> None:
    """Raise ``UsageError`` for a name of this program's own files in an output directory."""
    names = [path]
    with contextlib.suppress(OSError, ValueError):  # as below
        names.append(os.path.realpath(path))
    if any(os.path.basename(name).lower().startswith(_OWN) for name in names):
        raise UsageError(f"cannot write {path!r}: names that begin with {_OWN} are reserved", hint=_ANOTHER)


def check_replaced(path: str) -> None:
    """Raise ``UsageError`` if an existing file may not be replaced or appended to: it is no text, or a manifest."""
    kind = ""
    with contextlib.suppress(OSError, ValueError):  # whatever opens it fails, too
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                kind = _kind_of(file.read(_BLOCK))
    if kind:
        raise UsageError(f"cannot write {path!r}: it is {kind}", hint=_ANOTHER)


def _kind_of(head: bytes) -> str:
    """Return what a file is by its beginning, empty if it may be replaced."""
    if head[_PREAMBLE:].startswith(_DICOM):
        return "a DICOM file"
    if b"\0" in head or (_CONTROL(head) and not _is_utf_8(head)):  # a deflated data set may have no NUL there
        return "not a text file"
    line = head.partition(b"\n")[0]
    return "a manifest of SHA-256 digests" if line and parse_manifest_line(line) is not None else ""


def _is_utf_8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def _printed(settings: CommandSettings) -> tuple[tuple[str, str | None], ...]:
    return ("--events", settings.events), ("--report", settings.report), ("--html", settings.html)


def _file(path: str) -> object:
    """Return what two names of one file have in common, hard links included."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # it does not exist yet
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
