"""The guard of incoming connections (``+ac``): has ``decision`` decide each by hosts.allow and hosts.deny, and logs it.

As with libwrap the files are read anew for each connection: an administrator's change takes effect at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import CRITICAL, DEBUG, ERROR, INFO, WARNING, logger_of
from movescu.errors import AccessDeniedError
from movescu.transport.access.decision import AccessRules, look_up

if TYPE_CHECKING:
    from movescu.transport.deadlines import Deadline
    from movescu.transport.sockets import Transport

_log: Final = logger_of("movescu.access")

_LEVELS: Final = {
    "emerg": CRITICAL,
    "alert": CRITICAL,
    "crit": CRITICAL,
    "err": ERROR,
    "error": ERROR,
    "warning": WARNING,
    "warn": WARNING,
    "notice": INFO,
    "info": INFO,
    "debug": DEBUG,
}
"""Level of the log for each severity of a rule's ``severity`` option."""


class Guard:
    """Allows or denies connections; ``host_lookup``: look up the names of hosts (off with ``-dhl``)."""

    def __init__(self, *, host_lookup: bool) -> None:
        self._host_lookup = host_lookup
        self._warned: set[str] = set()
        self._warn(AccessRules.read().warnings)

    def __call__(self, transport: Transport, _: Deadline) -> None:
        """Raise ``AccessDeniedError`` if the rules deny the connection."""
        rules = AccessRules.read()
        client = look_up(transport.peer_address, host_lookup=self._host_lookup)
        address, port = transport.local_address, transport.local_port
        verdict = rules.allows(client, address, server_port=port, host_lookup=self._host_lookup)
        self._warn((*rules.warnings, *verdict.warnings))
        why = f": {verdict.rule} ({verdict.location})" if verdict.location else ""
        if not verdict.allowed:
            text = f"access control: denied connection from {client.name} ({client.address}){why}"
            _log.log(_LEVELS.get(verdict.severity, ERROR), "%s", text)
            raise AccessDeniedError(text)
        level = _LEVELS.get(verdict.severity, DEBUG)
        _log.log(level, "access control: connection from %s (%s)%s", client.name, client.address, why)

    def _warn(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            if warning not in self._warned:  # once for a run, not for each connection
                self._warned.add(warning)
                _log.warning("access control: %s", warning)
