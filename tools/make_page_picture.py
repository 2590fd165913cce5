"""Make the picture of the page of a run in docs/page.md, from a real run: ``docs/pictures/page.png``.

Needs Debian's chromium. The test archive sends pydicom's sample files, a list with one study that it does not have.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pydicom.data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import Browser  # noqa: E402 - of the tests

from movescu.testing.archive import Archive  # noqa: E402 - as above

PICTURE = ROOT / "docs" / "pictures" / "page.png"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def studies_of(archive: Archive) -> list[str]:
    """Return the studies of the archive."""
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "--all"]
    command = [sys.executable, "-m", "movescu", "-S", "--query", "STUDY", *keys, "--format", "uids"]
    peer = ["--call", archive.ae_title, archive.host, str(archive.port)]
    return subprocess.run([*command, *peer], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 - our own program


def main() -> None:
    """Run the command, open its page, and keep a picture of it."""
    port = free_port()
    samples = Path(pydicom.data.__file__).parent / "test_files"
    with tempfile.TemporaryDirectory() as name, Archive(samples, {"ME": ("127.0.0.1", port)}) as archive:
        folder = Path(name)
        (folder / "images").mkdir()
        listed = folder / "list.csv"
        listed.write_text("".join(f"{uid}\n" for uid in ("StudyInstanceUID", *studies_of(archive)[:8], "1.2.3.4")))
        own = [
            "-S",
            "+xa",
            "--list",
            str(listed),
            "-aet",
            "ME",
            "--port",
            str(port),
            "-od",
            str(folder / "images"),
        ]
        page = folder / "page.html"
        peer = ["--call", archive.ae_title, archive.host, str(archive.port)]
        command = [sys.executable, "-m", "movescu", *own, "--html", str(page), "--thumbnails", *peer]
        subprocess.run(command, check=False)  # noqa: S603 - our own program
        browser = Browser(folder / "profile")
        with browser.tab(page.as_uri(), width=1280, height=1100) as tab:
            tab.click("#rows .opener")
            tab.run("document.querySelector('#rows img')?.decode()")
            PICTURE.write_bytes(tab.picture("readme", whole=False))
        browser.close()
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
