"""Durability: what is flushed to the disk and when, by the system calls of a process that stores objects."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command import NAMED_FILES

from movescu.errors import UsageError
from movescu.storage.durability import Durability, durability_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORE = """
import sys
from movescu.errors import StoreError
from movescu.storage.durability import Durability
from movescu.storage.writer import OutputDirectory

path, durability, count, size = sys.argv[1:]
directory = OutputDirectory(path, Durability(durability))
for number in range(int(count)):
    file = directory.create()
    file.begin(b"meta", bytes(int(size)))
    try:
        file.commit(f"CT.{number}")
    except StoreError as error:
        sys.exit(f"commit: {error}")
    sys.stdout.write(f"RESPONSE {number}\\n")
    sys.stdout.flush()
try:
    directory.flush()
except StoreError as error:
    sys.exit(f"flush: {error}")
sys.stdout.write("END\\n")
"""

NAMED = NAMED_FILES + STORE
CALLS = "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,linkat,write"


NO_SYNCFS = "import movescu.storage.files as f; f.find_syncfs = lambda: None\n"


def trace(
    path: Path, durability: str, count: int, *, size: int = 10, inject: str = "", program: str = STORE
) -> tuple[int, str, list[str]]:
    """Run the program; give its exit code, its standard error, and the calls in their order: name and outcome."""
    log = path.parent / "trace"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", CALLS, *(["-e", f"inject={inject}"] if inject else [])]
    run = subprocess.run(
        [*command, sys.executable, "-c", program, str(path), durability, str(count), str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = "\n".join(ended(log.read_text().splitlines()))
    found = re.findall(r"^\d+ +(fsync|fdatasync|syncfs|rename|link|write)\w*\((.*)$", lines, re.MULTILINE)
    told = [(call, rest) for call, rest in found if matters(call, rest)]
    return run.returncode, run.stderr, [rest if call == "write" else KINDS.get(call, call) for call, rest in told]


def ended(lines: list[str]) -> Iterator[str]:
    """The calls in the order of their ends: one that another thread's call interrupts has two lines."""
    begun: dict[str, str] = {}
    for line in lines:
        number = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            begun[number] = line.removesuffix("<unfinished ...>")
        else:
            yield re.sub(r"^\d+ +<\.\.\. \w+ resumed>", begun.pop(number, ""), line) if "resumed>" in line else line


KINDS = {"rename": "name", "link": "name"}


def matters(call: str, rest: str) -> bool:
    if call == "write":
        return "RESPONSE" in rest or "END" in rest
    temporary = re.search(r'"\.movescu-[^"]*", \w+\)', rest)
    return call != "link" or not (temporary or "= -1" in rest)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def kinds(calls: list[str]) -> list[str]:
    return ["say" if "RESPONSE" in call else "end" if "END" in call else call for call in calls]


@pytest.mark.parametrize("program", [STORE, NAMED])
def test_object_durability_flushes_file_and_name_before_the_success_response(out: Path, program: str) -> None:
    code, _, calls = trace(out, "object", 2, program=program)
    assert code == 0
    again = ["fsync"] * (program is STORE)  # of a file that had no name btrfs flushes nothing
    assert kinds(calls) == ["fsync", "name", *again, "fsync", "say"] * 2 + ["end"]


@pytest.mark.parametrize("program", [STORE, NAMED])
def test_few_files_are_flushed_before_the_end_with_their_directory(out: Path, program: str) -> None:
    _, _, calls = trace(out, "end", 3, program=program)
    assert kinds(calls) == ["name", "say"] * 3 + ["fsync"] * 4 + ["end"]


def test_many_files_are_flushed_at_once_before_the_end(out: Path) -> None:
    _, _, calls = trace(out, "end", 40)
    assert kinds(calls)[-2:] == ["syncfs", "end"]
    assert "fsync" not in kinds(calls)


def test_long_retrieve_is_flushed_in_the_background(out: Path) -> None:
    _, _, calls = trace(out, "end", 40, size=8 << 20)
    flushes = kinds(calls).count("syncfs")
    assert flushes > 1
    assert kinds(calls).index("syncfs") < kinds(calls).index("end") - 1


def test_word_that_is_no_durability_is_an_error_with_those_that_are() -> None:
    assert [durability_of(word) for word in ("end", "object", "off", Durability.OFF)] == [*Durability, Durability.OFF]
    with pytest.raises(UsageError, match="'never' is not one of end, object, off"):
        durability_of("never")


def test_durability_off_flushes_nothing(out: Path) -> None:
    _, _, calls = trace(out, "off", 40)
    assert set(kinds(calls)) == {"name", "say", "end"}


@pytest.mark.parametrize(("count", "call"), [(3, "fsync"), (40, "syncfs")])
def test_failed_flush_is_never_a_success(out: Path, count: int, call: str) -> None:
    code, error, calls = trace(out, "end", count, inject=f"{call}:error=EIO")
    assert code == 1
    assert "flush: " in error
    assert "Input/output error" in error
    assert "end" not in kinds(calls)


@pytest.mark.parametrize(("count", "call"), [(3, "fsync"), (40, "syncfs")])
def test_next_run_writes_files_anew_whose_flush_failed(out: Path, count: int, call: str) -> None:
    """The system has dropped what it could not write, and reports that once: the next flush succeeds without it."""
    trace(out, "end", count, inject=f"{call}:error=EIO")
    lost = inodes(out)
    assert len(lost) == count
    code, _, _ = trace(out, "end", count)
    assert code == 0
    kept = inodes(out)
    assert kept.keys() == lost.keys()
    assert not [name for name in kept if kept[name] == lost[name]]
    trace(out, "end", count)
    assert inodes(out) == kept


def test_files_committed_after_a_failed_flush_are_doubted_as_well(out: Path) -> None:
    """This run flushes them no more, and for another one the system may have reported their loss already."""
    begin, store, flush = re.split("(?=for number|try:\n    directory.flush)", STORE)
    first = f"{store}try:\n    directory.flush()\nexcept StoreError:\n    pass\n"
    second = store.replace("range(int(count))", "range(int(count), 2 * int(count))")
    program = begin + first + second + flush
    code, error, _ = trace(out, "end", 3, inject="fsync:error=EIO:when=1", program=program)
    assert (code, "Input/output error" in error) == (1, True)
    lost = inodes(out)
    assert len(lost) == 6
    assert trace(out, "end", 6)[0] == 0
    assert not [name for name, inode in inodes(out).items() if lost[name] == inode]


def inodes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in folder.iterdir() if not file.name.startswith(".")}


def test_object_whose_flush_fails_is_refused_and_leaves_no_file(out: Path) -> None:
    code, error, calls = trace(out, "object", 1, inject="fsync:error=EIO")
    assert code == 1
    assert "commit: " in error
    assert "say" not in kinds(calls)
    assert [file for file in out.iterdir() if file.suffix != ".lock"] == []


def test_every_file_is_flushed_without_syncfs(out: Path) -> None:
    _, _, calls = trace(out, "end", 40, program=NO_SYNCFS + STORE)
    assert kinds(calls).count("fsync") == 40 + 1
    assert kinds(calls)[-1] == "end"


def test_object_durability_flushes_an_existing_name_too(out: Path) -> None:
    trace(out, "off", 1)
    _, _, calls = trace(out, "object", 1)
    assert kinds(calls) == ["fsync"] * 3 + ["say", "end"]  # our own file, the one that was there, the directory
