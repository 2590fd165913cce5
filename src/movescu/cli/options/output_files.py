"""The files that a run writes: no two of them, and none that it reads or keeps, may be the same."""

from __future__ import annotations

import os

from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.cli.options.settings import CommandSettings

STANDARD_OUTPUT: Final = "-"


def check_output_files(settings: CommandSettings) -> None:
    """Raise ``UsageError`` if an output would overwrite a file that the run reads or keeps, or another output."""
    printed = [option for option, path in _printed(settings) if path == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise UsageError(f"only one of {' and '.join(printed)} can go to standard output")
    from movescu.cohort.journal_file import journal_path  # late: few runs have files for programs

    inputs = [
        ("--list", settings.list_file),
        *(("the query file", path) for path in settings.query_files),
        ("the journal", journal_path(settings.output_directory, settings.journal)),
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


def _printed(settings: CommandSettings) -> tuple[tuple[str, str | None], ...]:
    return ("--events", settings.events), ("--report", settings.report), ("--html", settings.html)


def _file(path: str) -> object:
    """Return what two names of one file have in common, hard links included."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # it does not exist yet
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
