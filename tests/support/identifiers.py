"""What an archive gets of an identifier in explicit VR little endian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.dataset.values import elements
from movescu.dictionary.uids import EXPLICIT_LITTLE

if TYPE_CHECKING:
    from movescu.query.identifier import Identifier


def sent(identifier: Identifier) -> bytes:
    """Return the encoded identifier."""
    return identifier.encode(EXPLICIT_LITTLE)


def values(identifier: Identifier) -> dict[int, bytes]:
    """Return the encoded values at the top level by tag."""
    return {tag: value for tag, _, value in elements(sent(identifier))}
