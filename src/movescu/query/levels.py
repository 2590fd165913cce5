"""The levels of the query models and the unique key of each (PS3.4 C.6)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

LEVEL: Final = 0x00080052
"""Query/Retrieve Level."""
UNIQUE_KEYS: Final = {"PATIENT": 0x00100020, "STUDY": 0x0020000D, "SERIES": 0x0020000E, "IMAGE": 0x00080018}
"""The levels from the top, and the unique key of each (PS3.4 C.6)."""
MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    "PATIENT": ("PATIENT", "STUDY", "SERIES", "IMAGE"),
    "STUDY": ("STUDY", "SERIES", "IMAGE"),
    "PSONLY": ("PATIENT", "STUDY"),
}
"""The levels of each query model."""
