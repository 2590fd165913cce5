"""The record of failed flushes: what it keeps for later runs, and what happens if it cannot be kept or read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from movescu.errors import StoreError
from movescu.storage import failed_flushes, files
from movescu.storage.failed_flushes import FILE_NAME, FailedFlushes, Periods
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = 60 * 10**9
YEAR = 365 * 24 * 60 * MINUTE
NOW = 1_700_000_000_000_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = files.openat(str(tmp_path), files.READ_DIRECTORY)
    yield fd
    files.close(fd)


def periods(*changed: int) -> Periods:
    made = Periods()
    for one in changed:
        made.add(one, one)
    return made


def covered(directory: int, *changed: int) -> list[bool]:
    """What the next run says of files that were changed at these times."""
    record = FailedFlushes(directory)
    return [record.cover(one) for one in changed]


def test_next_run_doubts_the_files_of_each_failed_flush_and_no_others(directory: int) -> None:
    FailedFlushes(directory).record(periods(NOW, NOW + 5, NOW + MINUTE, NOW + 2 * MINUTE + 1))
    FailedFlushes(directory).record(periods(NOW + YEAR))
    times = (NOW - 1, NOW, NOW + 3, NOW + MINUTE, NOW + MINUTE + 1, NOW + YEAR - 1, NOW + YEAR, NOW + YEAR + 1)
    assert covered(directory, *times) == [False, True, True, True, False, False, True, False]


def test_record_is_never_written_through_a_link(
    directory: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = FailedFlushes(directory)
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".movescu.unflushed").symlink_to(tmp_path / "victim")
    record.record(periods(NOW))
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert "cannot be recorded in .movescu.unflushed" in caplog.text
    (tmp_path / ".movescu.unflushed").unlink()
    record.record(periods(NOW))
    assert sorted(file.name for file in tmp_path.iterdir()) == [".movescu.unflushed", "victim"]
    assert not (tmp_path / ".movescu.unflushed").stat().st_mode & 0o111


def test_old_file_in_a_flush_casts_no_doubt_on_those_of_the_years_between(directory: int, tmp_path: Path) -> None:
    FailedFlushes(directory).record(periods(NOW + 1, NOW - YEAR, NOW, NOW - YEAR + 1))
    assert (tmp_path / FILE_NAME).read_text().split() == [
        f"{one}" for one in (NOW, NOW + 1, NOW - YEAR, NOW - YEAR + 1)
    ]
    assert covered(directory, NOW, NOW + 1, NOW - YEAR, NOW - YEAR + 1) == [True] * 4
    assert covered(directory, NOW - 1, NOW - YEAR // 2, NOW - YEAR + 2) == [False] * 3


def test_record_of_files_of_very_many_times_stays_small_and_covers_them_all(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_flushes, "_MOST", 3)
    times = [NOW + number * 2 * MINUTE for number in range(30)]
    FailedFlushes(directory).record(periods(*times))
    assert all(covered(directory, *times))
    assert len((tmp_path / FILE_NAME).read_text().split("\n")) <= 5


def test_line_that_was_not_finished_hides_no_other(directory: int, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(f"{NOW} {NOW}\n{NOW + 1}")
    FailedFlushes(directory).record(periods(NOW + YEAR))
    assert covered(directory, NOW, NOW + YEAR) == [True, True]


def test_record_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=FILE_NAME):
        OutputDirectory(str(tmp_path))
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(StoreError, match=FILE_NAME):
        OutputDirectory(str(tmp_path))
    (tmp_path / FILE_NAME).rmdir()
    with closing(OutputDirectory(str(tmp_path))):
        pass


def test_directory_that_takes_no_record_is_told(
    directory: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = FailedFlushes(directory)
    (tmp_path / FILE_NAME).mkdir()
    record.record(periods(NOW))
    assert "cannot be recorded" in caplog.text
    assert record.cover(NOW)


@pytest.mark.parametrize("theirs", [True, False])
def test_file_of_a_run_beside_this_one_is_not_on_the_disk_once_that_run_says_so(
    directory: int, tmp_path: Path, theirs: bool
) -> None:
    (tmp_path / "CT.1").write_bytes(b"pixels")
    changed = (tmp_path / "CT.1").stat().st_mtime_ns
    with closing(OutputDirectory(str(tmp_path))) as own:
        own.rely("CT.1", 6)
        FailedFlushes(directory).record(periods(changed if theirs else changed - YEAR))
        if theirs:
            for _ in range(2):
                with pytest.raises(StoreError, match="another run could not flush files that are needed here"):
                    own.flush()
        else:
            own.flush()
        assert own.failed_flushes.cover(changed) == theirs
