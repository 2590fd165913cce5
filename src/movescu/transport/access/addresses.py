"""The hosts and networks that may connect (``--accept-from``), IPv4 and IPv6.

A name stands for all its addresses. It is looked up once, when the port opens: no connection waits for a resolver.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.errors import AccessDeniedError, PeerError, UsageError
from movescu.transport.sockets import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from movescu.transport.deadlines import Deadline
    from movescu.transport.sockets import Transport

_log: Final = logger_of("movescu.access")

_NOTED: Final = 1000  # addresses whose refusal was logged


class AllowedHosts:
    """Denies connections from all other hosts. ``seconds``: limit of each look-up of a name.

    Raise ``UsageError`` for an invalid network, or a name without an address.
    """

    def __init__(self, hosts: Iterable[str], seconds: float | None) -> None:
        self._networks = [network for host in hosts for network in _networks(host, seconds)]
        self._noted: set[str] = set()

    def __contains__(self, address: str) -> bool:
        try:
            own = _address(address)
        except ValueError:  # the connection has ended
            return False
        return any(own in network for network in self._networks)

    def __call__(self, transport: Transport, _: Deadline) -> None:
        """Raise ``AccessDeniedError`` unless the peer's address is allowed."""
        address = transport.peer_address
        if address in self:
            return
        text = f"connection from {address or transport.peer} refused: --accept-from does not name its host"
        if address not in self._noted and len(self._noted) < _NOTED:  # once a host, not for each connection
            self._noted.add(address)
            _log.warning("%s", text)
        raise AccessDeniedError(text)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Return an address: without the zone of a link-local one, and as IPv4 if it is mapped into IPv6."""
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _networks(host: str, seconds: float | None) -> list[IPv4Network | IPv6Network]:
    text = host.strip()
    if "/" in text:
        try:
            return [ip_network(text.replace("[", "").replace("]", ""), strict=False)]
        except ValueError as error:
            raise UsageError(
                f"--accept-from {host!r} is not a network: {error}", hint="write it as 192.168.1.0/24 or fd00::/8"
            ) from error
    try:
        return [ip_network(_address(text.strip("[]")))]
    except ValueError:
        pass  # a name
    try:
        return [ip_network(_address(address)) for address in resolve(text, "auto", seconds)]
    except PeerError as error:
        raise UsageError(f"--accept-from {host!r}: {error}", hint="give the address of the host") from error
