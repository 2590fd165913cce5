"""What a command line may ask for instead of a retrieve, query or check: exceptions of the parser."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Wish(Exception):  # noqa: N818 - not an error: the user asked for it
    """Request for something else than a retrieve, query or check."""


class ShowHelp(Wish):
    """Request for the help: ``--help`` or no arguments; ``topic``: the word after ``--help``, which may be none."""

    def __init__(self, topic: str = "") -> None:
        super().__init__()
        self.topic = topic


class ShowVersion(Wish):
    """Request for the version (``--version`` without ``--help``)."""


class ShowCompletion(Wish):
    """Request for a completion script, or for a word list that the scripts use (``--completion``)."""

    def __init__(self, shell: str) -> None:
        super().__init__()
        self.shell = shell


class ShowTLS(Wish):
    """Request for the list of cipher suites or of security profiles."""

    def __init__(self, *, ciphers: bool) -> None:
        super().__init__()
        self.ciphers = ciphers


class ShowSites(Wish):
    """Request for the list of sites (``--sites``)."""


class SetUpSite(Wish):
    """Request to describe an archive as a site (``--setup``); ``given``: answers on the command line, by key."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__()
        self.given = given
