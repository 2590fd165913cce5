"""The level of a request whose keys do not state one that a query model has: PS3.4 C.4.1.1.3.1.

DCMTK's ``movescu`` sends what it is given, and so does a plain retrieve, with a warning. Where the keys are matched or
listed by C-FIND first, a level in lower case is written as the standard writes it, and a missing one is that of the
lowest key with a value. Imported only where the level is not one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu._runtime.late_log import logger_of
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, MODELS
from movescu.query.list_columns import lowest_level

if TYPE_CHECKING:
    from typing import Final

_log: Final = logger_of("movescu.query")


def level_of_keys(identifier: Identifier, model: str) -> str:
    """Return the lowest level of the model to which a key with a value belongs, empty if none is known."""
    return lowest_level((key.tag for key in identifier if key.text or key.items), MODELS[model])


def with_level(identifier: Identifier, model: str, *, missing: bool = True) -> Identifier:
    """Return the identifier with its level as the standard writes it; ``missing``: infer it from the keys, too."""
    stated = identifier.text(LEVEL)
    level = stated.strip().upper() if stated else level_of_keys(identifier, model) if missing else ""
    if level == stated or level not in MODELS[model]:
        return identifier
    if not stated:
        _log.info("QueryRetrieveLevel is missing: %s is inferred from the keys", level)
    return Identifier((Key(LEVEL, b"CS", level.encode()), *identifier), identifier.compression_level)
