"""The archive's address in one word: ``host:port`` or ``TITLE@host:port``, an IPv6 address in brackets.

DCMTK takes host and port as two words. One word is read as both only if the word after it is no number: two words mean
what they mean to DCMTK. Imported only then.
"""

from __future__ import annotations

import os

from movescu.cli.options.table import NAMES
from movescu.errors import CommandLineError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.cli.options.option import Winners
    from movescu.retrieve.config import AE


def parsed(text: str) -> AE | None:
    """Return the address that a word is, None if it is none."""
    if ":" not in text:
        return None
    from movescu.retrieve.config import AE  # most command lines have the port as a word of its own

    try:
        return AE.parse(text)
    except UsageError:
        return None


def problem(text: str) -> str:
    """Return what is wrong with a word that was probably meant as an address, empty if nothing is."""
    from movescu.retrieve.config import AE

    try:
        AE.parse(text)
    except UsageError as error:
        return f"{error}; {error.hint}." if error.hint else f"{error}: write the archive's address as TITLE@host:port."
    return ""


def split(parameters: list[str], winners: Winners) -> tuple[list[str], Winners]:
    """Return host and port as two parameters, if the first is an address, with the options that it stands for.

    A title stands for ``--call``, an IPv6 address for ``--ipv6`` unless an IP version is given. With ``--site``, which
    has an address, the first parameter may be a query file: one that exists is.

    Raises ``CommandLineError`` if ``--call`` has another title.
    """
    text = parameters[0]
    address = parsed(text)
    if address is None or ("site" in winners and os.path.exists(text)):
        return parameters, winners
    meant: Winners = {}
    if "@" in text:
        call = NAMES["--call"]
        _, (title,) = winners.get(call.group, (call, (address.title,)))
        if title != address.title:
            raise CommandLineError(
                f"two AE titles for the archive: {title} (--call) and {address.title} ({text})", hint="Give one."
            )
        meant[call.group] = call, (address.title,)
    if ":" in address.host:
        version = NAMES["--ipv6"]
        meant[version.group] = version, ()
    return [address.host, str(address.port), *parameters[1:]], meant | winners
