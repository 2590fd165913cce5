"""The files of a release, made from the sources of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from movescu._runtime import version

if TYPE_CHECKING:
    from pathlib import Path

WHEEL, SDIST = f"movescu-{version.VERSION}-py3-none-any.whl", f"movescu-{version.VERSION}.tar.gz"
DATE = {"SOURCE_DATE_EPOCH": "1700000000"}


def run(*command: object, folder: Path, **variables: str) -> str:
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, cwd=folder, env=os.environ | variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(folder: Path, sources: Path) -> dict[str, bytes]:
    """Make every file of a release."""
    folder.mkdir()
    run("-m", "hatchling", "build", "-d", folder, folder=sources, **DATE)
    for tool, name in (("make_pyz", "movescu.pyz"), ("make_sbom", "movescu.spdx.json")):
        run(sources / "tools" / f"{tool}.py", folder / name, folder=sources, **DATE)
    return {path.name: path.read_bytes() for path in folder.iterdir()}
