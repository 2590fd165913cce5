"""Wheels of what is installed in this environment, made again: installers then need no network."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFT_OUT = (".pyc", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def make(folder: Path, *requirements: str) -> None:
    """Write the wheels of requirements, and of all that these require, into a folder."""
    for one in _needed(requirements):
        _write(folder, one)


def _needed(requirements: tuple[str, ...]) -> Iterator[Distribution]:
    waiting = [Requirement(text) for text in requirements]
    done: set[tuple[str, str]] = set()
    yielded: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        extras = {"", *wanted.extras}
        if all((name, extra) in done for extra in extras):
            continue
        done |= {(name, extra) for extra in extras}
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # of an extra that this environment does not have
        for text in found.requires or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
        if name not in yielded and name != "movescu":
            yielded.add(name)
            yield found


def _write(folder: Path, one: Distribution) -> None:
    stem = f"{re.sub(r'[-_.]+', '_', one.metadata['Name'])}-{one.version}"
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", one.read_text("WHEEL") or "", re.MULTILINE)
    assert tags, f"{stem} was not installed from a wheel"
    tag = "-".join(".".join(sorted({*part})) for part in zip(*tags, strict=True))
    record = []
    with ZipFile(folder / f"{stem}-{tag}.whl", "w") as wheel:
        for file in one.files or ():
            # Scripts, outside of the packages, are made again from the entry points.
            if ".." in file.parts or file.name.endswith(_LEFT_OUT):
                continue
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file.as_posix()},sha256={digest},{len(content)}\n")
            wheel.writestr(file.as_posix(), content)
        [about] = {file.parts[0] for file in one.files or () if file.parts[0].endswith(".dist-info")}
        wheel.writestr(f"{about}/RECORD", f"{''.join(record)}{about}/RECORD,,\n")
