"""Minimise the committed corpus: ``python fuzz/minimise.py FOLDER [TARGET...]``.

Keeps those inputs of ``FOLDER/TARGET`` and ``fuzz/corpus/TARGET``, the shortest first, that go from one line of movescu
to another as no input before them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "support")]

from targets import TARGETS, Target  # noqa: E402 - found by the path above

if TYPE_CHECKING:
    from types import FrameType

    Arc = tuple[str, int, int]

SOURCE: Final = str(HERE.parent / "src" / "movescu")
LARGEST: Final = 70_000
"""Bytes, at most, of the corpus of one target."""


def arcs_of(target: Target, data: bytes) -> set[Arc]:
    """Return the pairs of lines that follow each other in a run."""
    arcs: set[Arc] = set()

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - as sys has it
        name = frame.f_code.co_filename
        if not name.startswith(SOURCE):
            return None
        last = frame.f_lineno

        def lines(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - as above
            nonlocal last
            arcs.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return lines

        return lines

    sys.settrace(trace)
    try:
        with suppress(Exception):
            target(data)
    finally:
        sys.settrace(None)
    return arcs


def minimise(name: str, found: Path) -> None:
    """Minimise the committed corpus of a target."""
    kept = HERE / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    inputs = {path.read_bytes() for folder in (kept, found / name) for path in folder.glob("*")}
    for path in kept.iterdir():
        path.unlink()
    seen: set[Arc] = set()
    size = 0
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        arcs = arcs_of(TARGETS[name], data)
        if not arcs <= seen and size + len(data) <= LARGEST:
            seen |= arcs
            size += len(data)
            (kept / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    sys.stdout.write(f"{name}: {len(inputs)} inputs, {len(list(kept.iterdir()))} kept, {size} bytes\n")


def main() -> None:
    """Minimise the corpora of the targets that the command line names."""
    logging.getLogger("movescu").addHandler(logging.NullHandler())
    found, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # targets write files
        os.environ["XDG_CONFIG_HOME"] = folder
        for name in names:
            minimise(name, found)
        os.chdir(HERE)


if __name__ == "__main__":
    main()
