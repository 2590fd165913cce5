"""The level of a request whose keys do not state one that a query model has: PS3.4 C.4.1.1.3.1.

DCMTK's ``movescu`` sends what it is given, and so does a plain retrieve, with a warning. Where the keys are matched or
listed by C-FIND first, a level in lower case is written as the standard writes it, and a missing one is that of the
lowest key with a value. A key that is in no table may belong to an object, so it counts as one of level IMAGE. A key
below that level without a value is an error: it may be the slip of a script, and without it more is requested. Imported
only where the level is not one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu._runtime.late_log import logger_of
from movescu.errors import UsageError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.scope import LEVELS, keyword, level_of, selecting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_log: Final = logger_of("movescu.query")


def level_of_keys(keys: Iterable[Key], model: str) -> str:
    """Return the lowest level of the model to which a key with a value belongs, empty if none has a value."""
    lowest, levels = lowest_of(keys), MODELS[model]
    return lowest if lowest in levels or not lowest else levels[0 if lowest == "PATIENT" else -1]


def lowest_of(keys: Iterable[Key]) -> str:
    """Return the lowest level to which a key with a value belongs, empty if none has a value."""
    return max((_own_level(key) for key in selecting(keys) if not _is_blank(key)), key=LEVELS.index, default="")


def unknown_keys(keys: Iterable[Key]) -> list[str]:
    """Return the names of the keys with a value whose level no table has."""
    return [keyword(key.tag) for key in selecting(keys) if not (_is_blank(key) or level_of(key.tag))]


def check_no_blank(keys: Iterable[Key], lowest: str) -> None:
    """Raise ``UsageError``, which names the key, if one below the lowest level of the keys has no value."""
    for key in selecting(keys):
        if lowest and _is_blank(key) and LEVELS.index(_own_level(key)) > LEVELS.index(lowest):
            raise UsageError(
                f"{keyword(key.tag)} is empty: all that the other keys match would be requested",
                hint="give it a value; if all of it is meant, leave out the key or give QueryRetrieveLevel",
            )


def with_level(identifier: Identifier, model: str, whole: Identifier | None = None) -> Identifier:
    """Return the identifier with its level as the standard writes it.

    ``whole``: the keys to infer a missing one from. Default: None, it stays missing. Raise ``UsageError`` if a key
    below the lowest level of the keys has no value.
    """
    stated = identifier.text(LEVEL)
    level = stated.strip().upper()
    if not level and whole is not None:
        level = level_of_keys(whole, model)
        check_no_blank(identifier, lowest_of(whole))
    if level not in MODELS[model]:
        return identifier
    if not stated:
        named = level != "PATIENT" and identifier.text(UNIQUE_KEYS[level])
        tell = _log.info if named else _log.warning  # a UID names what is requested, whoever states the level
        tell("QueryRetrieveLevel is missing: %s is inferred from the keys", level)
    return Identifier((Key(LEVEL, b"CS", level.encode()), *identifier))


def _own_level(key: Key) -> str:
    return level_of(key.tag) or "IMAGE"


def _is_blank(key: Key) -> bool:
    return not (key.text or key.items)
