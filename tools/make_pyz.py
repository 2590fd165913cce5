"""Make ``movescu.pyz``: the command with everything that it needs, for a machine that has nothing but Python.

    python tools/make_pyz.py FILE

It has the sources, and the dependencies as they are in this environment, with their licences. The same input makes the
same bytes: names are sorted, and all dates are SOURCE_DATE_EPOCH, or 1980.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from components import ROOT, needed

if TYPE_CHECKING:
    from collections.abc import Iterator

SHEBANG = b"#!/usr/bin/env python3\n"
LEFT_OUT = (".pyc", ".pth", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of the packages."""
    yield "movescu-LICENSE", (ROOT / "LICENSE").read_bytes()
    for path in (ROOT / "src" / "movescu").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT / "src").as_posix(), path.read_bytes()
    for name, distribution in needed().items():
        if name != "movescu":
            for file in distribution.files or ():
                if ".." not in file.parts and not file.name.endswith(LEFT_OUT):
                    yield file.as_posix(), Path(str(file.locate())).read_bytes()


def make(target: Path) -> None:
    """Write the application."""
    seconds = max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800)  # zip begins with 1980
    date = time.gmtime(seconds)[:6]
    packages = sorted(contents())
    digest = hashlib.sha256(repr(packages).encode()).hexdigest()[:16]
    main = (ROOT / "tools" / "pyz_main.py").read_bytes().replace(b"@DIGEST@", digest.encode())
    with target.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in [("__main__.py", main), *((f"packages/{name}", data) for name, data in packages)]:
                entry = zipfile.ZipInfo(name, date)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    target.chmod(0o755)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    print(sys.argv[1])
