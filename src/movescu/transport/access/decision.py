"""Decides who may connect: hosts.allow and hosts.deny for the daemon ``movescu``, as libwrap does (hosts_access(5)).

The first rule of hosts.allow that matches daemon and client allows; else the first rule of hosts.deny that matches
denies; else access is granted. The options of the rule that matched may decide otherwise. ``rules`` parses the files;
the caller closes the connection and logs.

Intended differences from libwrap:

- Netgroups (``@name``) never match: NIS is not supported. Users are never looked up (RFC 1413): all are ``unknown``.
- No command is run, and the process is not changed; ``rules`` has the effect of such options.
- A hosts.deny that is a directory denies, like one without read permission; libwrap treats it as empty.
- A file of patterns must be a regular file, is read once per decision, and may name others, at most eight deep.
- Mask lengths are not cut to 32 bits: ``/4294967304`` is an error, not ``/8``.
- The scope of an IPv6 pattern (``[fe80::1%eth0]``) is not compared, and its interface need not exist.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from movescu.transport import network
from movescu.transport.access.patterns import (
    UNKNOWN,
    canonical,
    in_list,
    is_address,
    is_net,
    lower,
    net_match,
    split_at,
    string_match,
    without_scope,
)
from movescu.transport.access.rules import Rule, Table, decide, printable, read_patterns, read_table, reason

if TYPE_CHECKING:
    from collections.abc import Callable

DAEMON: Final = "movescu"

ALLOW_VARIABLE: Final = "MOVESCU_HOSTS_ALLOW"
DENY_VARIABLE: Final = "MOVESCU_HOSTS_DENY"
ALLOW_PATH: Final = "/etc/hosts.allow"
DENY_PATH: Final = "/etc/hosts.deny"

PARANOID: Final = "paranoid"
"""The name of a host whose name does not resolve to its address."""

_FILE_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class ConnectingHost:
    """A host as the rules see it: its address as text, and its name, ``unknown`` or ``paranoid``."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a client may connect, and why."""

    allowed: bool
    rule: str
    """The rule that decided, as text; empty if none matched."""
    location: str
    """Its file and line; empty if none matched."""
    severity: str
    """Severity to log it with, by the rule's ``severity`` option (``info``); empty if the rule has none."""
    warnings: tuple[str, ...]
    """Rules and options that have no effect, each with file and line."""


def look_up(address: str, *, host_lookup: bool) -> ConnectingHost:
    """Return the client at ``address``, with its name by reverse DNS if ``host_lookup`` is set.

    The name has to resolve to the address, as with libwrap. Never raises; takes as long as the system's resolver.
    """
    address = canonical(address)
    return ConnectingHost(address, _name_of(address) if host_lookup else UNKNOWN)


def _name_of(address: str) -> str:
    try:
        name = network.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except (OSError, ValueError):  # the name may be undecodable, or not one that can be looked up
        return UNKNOWN
    if is_address(name):  # a PTR record that poses as an address
        return PARANOID
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        found = network.getaddrinfo(name, None, family, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
    except (OSError, ValueError):  # as above
        return PARANOID
    if lower(name) not in {"localhost", *(lower(entry[3]) for entry in found[:1])}:
        return PARANOID
    addresses = {without_scope(canonical(str(entry[4][0]))) for entry in found}
    return name if without_scope(address) in addresses else PARANOID


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules of hosts.allow and hosts.deny."""

    allow: Table
    deny: Table

    @classmethod
    def read(cls, allow_path: str | None = None, deny_path: str | None = None) -> AccessRules:
        """Read both files: the given ones, else those of the environment, else the system's.

        Never raises. A missing file has no rules. A hosts.deny that cannot be read, wholly or from some line on, denies
        every client that no rule before that line allows.
        """
        return cls(
            read_table(allow_path or os.environ.get(ALLOW_VARIABLE) or ALLOW_PATH),
            read_table(deny_path or os.environ.get(DENY_VARIABLE) or DENY_PATH),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Errors of the files themselves: unreadable files and invalid lines."""
        return (*self.allow.warnings, *self.deny.warnings)

    def allows(
        self,
        client: ConnectingHost,
        server_address: str = "",
        *,
        server_port: int | None = None,
        host_lookup: bool = False,
    ) -> Verdict:
        """Decide whether ``client`` may connect to this daemon at ``server_address`` and ``server_port``.

        Both may be left out; then rules that name them do not match. ``host_lookup``: look up the name of the server
        address, if a rule ``daemon@name`` needs it. Never raises.
        """
        request = _Request(client, server_address, server_port, host_lookup=host_lookup)
        for table, granted in ((self.allow, True), (self.deny, False)):
            for rule in table.rules:
                if request.matches(rule):
                    decision = decide(rule, granted=granted)
                    warnings = (*request.warnings, *decision.warnings)
                    return Verdict(decision.allowed, str(rule), rule.location, decision.severity, warnings)
        broken = self.deny.warnings[-1:] if self.deny.broken else ()
        return Verdict(not self.deny.broken, "", "", "", (*request.warnings, *broken))


@dataclass(slots=True)
class _Host:
    """One end of the connection; ``find_name`` is called when a rule first needs the name."""

    address: str
    find_name: Callable[[], str]
    files: dict[str, bool] = field(default_factory=dict)
    """Whether each file of patterns matches; False while it is read, in case it names itself."""
    _name: str | None = None

    @property
    def name(self) -> str:
        if self._name is None:
            self._name = self.find_name()
        return self._name

    @property
    def has_name(self) -> bool:
        return lower(self.name) not in {UNKNOWN, PARANOID}


class _Request:
    """A connection to compare rules with."""

    def __init__(
        self, client: ConnectingHost, server_address: str, server_port: int | None, *, host_lookup: bool
    ) -> None:
        self._client = _Host(canonical(client.address), lambda: client.name or UNKNOWN)
        self._server = _Host(
            canonical(server_address),
            lambda: look_up(server_address, host_lookup=host_lookup and server_address != "").name,
        )
        self._port = server_port
        self._location = ""
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Errors of the patterns that were compared, each once."""
        return tuple(self._warnings)

    def _warn(self, text: str) -> None:
        self._warnings[printable(f"{self._location}: {text}")] = None

    def matches(self, rule: Rule) -> bool:
        self._location = rule.location
        return in_list(rule.daemons, self._is_daemon) and in_list(rule.clients, self._is_client)

    def _is_daemon(self, token: str) -> bool:
        name, host = _before_and_after_at(token)
        if not (string_match(name, DAEMON) or self._is_port(name)):
            return False
        return host is None or self._host_match(host, self._server)

    def _is_port(self, token: str) -> bool:
        return re.fullmatch(r"[\v\f]*[+-]?[0-9]+", token) is not None and int(token) == self._port

    def _is_client(self, token: str) -> bool:
        user, host = _before_and_after_at(token)
        if host is None:
            return self._host_match(token, self._client)
        return self._host_match(host, self._client) and string_match(user, UNKNOWN)

    def _host_match(self, token: str, host: _Host, depth: int = 0) -> bool:
        if token.startswith("@"):
            self._warn(f"netgroup {token} never matches: netgroups are not supported")
            return False
        if token.startswith("/"):
            return self._file_match(token, host, depth)
        word = lower(token)
        if word in {"known", "local"}:
            return host.has_name and (host.address != UNKNOWN if word == "known" else "." not in host.name)
        net, mask = split_at(token, "/")
        if mask is not None or (token.startswith("[") and token.endswith("]")):
            return self._net_match(net, mask, host)
        # A token that can only be an address is not compared with the name, which saves looking that up.
        names_too = token.strip("0123456789./") != ""
        return string_match(token, host.address) or (names_too and string_match(token, host.name))

    def _net_match(self, net: str, mask: str | None, host: _Host) -> bool:
        if not is_net(net, mask):
            self._warn(f"net/mask pattern {net}{'' if mask is None else '/'}{mask or ''} never matches")
        return net_match(net, mask, host.address)

    def _file_match(self, path: str, host: _Host, depth: int) -> bool:
        if path not in host.files:
            host.files[path] = False
            host.files[path] = any(self._host_match(token, host, depth + 1) for token in self._patterns(path, depth))
        return host.files[path]

    def _patterns(self, path: str, depth: int) -> list[str]:
        if depth >= _FILE_DEPTH:
            self._warn(f"{path} is not read: too many files name others")
            return []
        try:
            return read_patterns(path)
        except (OSError, ValueError) as error:
            self._warn(f"{path} cannot be read: {reason(error)}")
            return []


def _before_and_after_at(token: str) -> tuple[str, str | None]:
    before, after = split_at(token[1:], "@")  # a leading @ marks a netgroup
    return token[:1] + before, after
