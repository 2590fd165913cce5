"""What has to hold of a retrieve, from three records: the sender's, the user's, and the disk.

Nothing here is of the program: an object is whole if its file ends with the very bytes that the archive has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def broken(
    objects: Mapping[str, bytes],
    acknowledged: Iterable[str],
    told: str,
    there: Mapping[str, bytes],
    stable: Mapping[str, bytes],
    *,
    each_flushed: bool = False,
) -> list[str]:
    """Return the promises that were broken.

    ``objects``: what the archive has, by UID. ``acknowledged``: the UIDs for which the sender was told success.
    ``told``: the outcome. ``there``, ``stable``: the files with a name of an object, as they are seen, and as a loss of
    power now would leave them. ``each_flushed``: each object is flushed before it is acknowledged.
    """
    seen, kept = _held(objects, there), _held(objects, stable)
    lost = [f"{uid} was acknowledged and is not there" for uid in acknowledged if uid not in seen]
    lost += [f"{name} holds no whole object" for name, data in there.items() if not _uid(objects, data)]
    if told == "complete":
        lost += [f"complete without {uid}" for uid in objects if uid not in seen]
        lost += [f"complete, and {uid} is not flushed" for uid in objects if uid in seen and uid not in kept]
    if each_flushed:
        lost += [f"{uid} was acknowledged and is not flushed" for uid in acknowledged if uid not in kept]
    return lost


def _held(objects: Mapping[str, bytes], names: Mapping[str, bytes]) -> set[str]:
    return {uid for data in names.values() if (uid := _uid(objects, data))}


def _uid(objects: Mapping[str, bytes], data: bytes) -> str:
    """Return the UID of the object that a file holds whole, empty if none."""
    if data[128:132] != b"DICM":
        return ""
    return next((uid for uid, whole in objects.items() if data.endswith(whole)), "")
