"""Files where directories cannot be opened, beyond what ``make test-without X=directories`` shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from movescu.storage import files_by_path

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_name_of_a_file_that_is_open_by_another_name_goes_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows removes no name of an open file: a temporary one would stay beside that of the whole file."""
    own, temporary = tmp_path / "CT.1", tmp_path / ".part"
    own.write_bytes(b"object")
    os.link(own, temporary)
    fd = files_by_path.openat(str(own), os.O_RDONLY)
    unlink = os.unlink

    def unlink_as_windows(path: str) -> None:
        try:
            os.fstat(fd)
        except OSError:
            unlink(path)
        else:
            raise PermissionError(path)

    monkeypatch.setattr(os, "unlink", unlink_as_windows)
    files_by_path.unlink(str(temporary))
    files_by_path.close(fd)
    assert [path.name for path in tmp_path.iterdir()] == ["CT.1"]
