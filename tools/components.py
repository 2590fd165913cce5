"""What a run of movescu needs, in the versions of this environment: the distributions, theirs included."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NAME = re.compile(r"[\w.-]+")


def needed(name: str = "movescu") -> dict[str, Distribution]:
    """Return what a distribution needs without any extra, by normalized name; itself first."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop(0)).lower()
        if key not in found:
            found[key] = distribution(key)
            waiting += requirements(found[key])
    return found


def requirements(one: Distribution) -> list[str]:
    """Return the names that a distribution requires; those with a condition are extras, or for other systems."""
    return [match[0] for text in one.requires or () if ";" not in text and (match := _NAME.match(text))]
