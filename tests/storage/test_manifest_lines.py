"""The lines of a manifest: as ``sha256sum`` writes and reads them, whatever the names of the files."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.storage.manifest_lines import manifest_line, parse_manifest_line

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = b"0123456789abcdef" * 4


@given(st.binary(min_size=1))
def test_line_has_one_line_end_and_gives_back_path_and_digest(path: bytes) -> None:
    line = manifest_line(path, DIGEST)
    assert line.endswith(b"\n")
    assert not line[:-1].translate(bytes(range(256)), bytes(set(range(256)) - set(b"\r\n")))
    assert parse_manifest_line(line[:-1]) == (path, DIGEST)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
@pytest.mark.parametrize("name", ["1.dcm", "a b", "a\nb", "a\\b", "a\\nb", "a\r", "\\"])
def test_sha256sum_writes_the_same_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"object")
    line = subprocess.run(["sha256sum", name], cwd=tmp_path, capture_output=True, check=True).stdout
    read = parse_manifest_line(line[:-1])
    assert read is not None
    assert read[0] == name.encode()
    assert manifest_line(*read) == line


def test_line_of_a_binary_file_is_read_and_an_escape_that_is_none_stays() -> None:
    assert parse_manifest_line(DIGEST + b" *1.dcm") == (b"1.dcm", DIGEST)
    assert parse_manifest_line(b"\\" + DIGEST + b"  a\\xb") == (b"a\\xb", DIGEST)


@pytest.mark.parametrize(
    "line", [b"", DIGEST, DIGEST + b"  ", DIGEST + b" 1.dcm", DIGEST[1:] + b"  1.dcm", DIGEST.upper() + b"  1", b"# x"]
)
def test_other_line_is_none(line: bytes) -> None:
    assert parse_manifest_line(line) is None
