"""Modules loaded at the start: a retrieve may start for each study of a worklist, so its start must stay short.

Tested by modules, not by time; docs/performance.md has the cost of each.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import without

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEYS = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
COSTLY = {"ast", "dataclasses", "encodings.idna", "inspect", "logging", "pathlib", "ssl", "traceback", "typing"}
STORAGE_SIDE = {
    *("movescu.transport.listener", "movescu.services.store", "movescu.storage.receiver", "movescu.storage.writer"),
    *(
        "movescu.dataset.parser",
        "movescu.dataset.encoder",
        "movescu.dataset.transcoder",
        "movescu.dataset.fast_path.scan",
        "movescu.dataset.fast_path.scanner",
    ),
}
MESSAGES = {"movescu.dimse.exchange", "movescu.dimse.messages", "movescu.services.move"}
SHOWN = "import sys; from movescu.transport.connection import Connection as C; shown = lambda: print(*sys.modules)"
AT_THE_REQUEST = f"{SHOWN}; C._flush = lambda self, deadline: (shown(), exit())"
AT_THE_END = "import atexit, sys; atexit.register(lambda: print(*sys.modules, flush=True))"


def loaded(first: str, arguments: Sequence[str]) -> set[str]:
    """Run the command behind a first line that has it print which modules are loaded."""
    program = f"{first}\nfrom movescu.cli.main import run\nrun()"
    done = subprocess.run(
        (sys.executable, "-c", program, *arguments), check=True, capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


def loaded_at_the_request(*arguments: str) -> set[str]:
    with socket.create_server(("127.0.0.1", 0)) as archive:
        port = archive.getsockname()[1]
        return loaded(AT_THE_REQUEST, (*KEYS, *arguments, "127.0.0.1", str(port)))


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])


@pytest.mark.not_without(*without.ROWS)  # which loads modules to take them away
def test_retrieve_loads_nothing_early_for_its_first_pdu() -> None:
    modules = loaded_at_the_request()
    assert "movescu.retrieve.association" in modules
    assert not modules & (COSTLY | STORAGE_SIDE | MESSAGES)


@pytest.mark.not_without(*without.ROWS)  # which loads modules to take them away
def test_retrieve_with_port_loads_the_listener_but_not_yet_storage(tmp_path: Path) -> None:
    modules = loaded_at_the_request("--port", free_port(), "--output-directory", str(tmp_path))
    assert {"movescu.transport.listener", "movescu.storage.writer"} <= modules
    later = STORAGE_SIDE - {"movescu.transport.listener", "movescu.storage.writer"}
    assert not modules & (COSTLY | later | MESSAGES)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_load_nothing_of_a_retrieve(option: str) -> None:
    modules = loaded(AT_THE_END, (option,))
    ours = {name for name in modules if name.startswith("movescu.")}
    small = ("_runtime.data_file", "_runtime.late_log", "_runtime.record", "_runtime.version", "dictionary.uids")
    assert {name for name in ours if not name.startswith("movescu.cli.")} <= {
        f"movescu.{name}" for name in ("_runtime", "cli", "dictionary", "errors", *small)
    }
    if option == "--version":
        needed = ("_runtime", "_runtime.version", "cli", "cli.docs", "cli.docs.banner", "cli.main", "cli.streams")
        assert ours == {f"movescu.{name}" for name in needed}
