"""Quantities as text: bytes, times, and numbers of objects and entries."""

from __future__ import annotations


def size_text(size: float) -> str:
    """Return bytes with three digits: 999 B, 1.23 kB, 45.6 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.{2 - (size >= 9.995)}f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def time_text(seconds: float) -> str:
    """Return minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def objects_text(number: int) -> str:
    """Return a number of objects."""
    return f"{number} object{'' if number == 1 else 's'}"


def entries_text(number: int) -> str:
    """Return a number of entries."""
    return f"{number} {'entry' if number == 1 else 'entries'}"
