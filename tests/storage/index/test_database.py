"""The database of an output directory, in every state in which a run may find it."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.index import database as database_file
from movescu.storage.index.database import (
    FILE_NAME,
    Tables,
    close_database,
    open_database,
    told_as_store_errors,
    transaction,
)

if TYPE_CHECKING:
    from pathlib import Path

WORDS = Tables("words", 1, ("CREATE TABLE words_all (word TEXT)",))
NUMBERS = Tables("numbers", 1, ("CREATE TABLE numbers_all (number INTEGER)",))


def words(folder: Path) -> list[str]:
    with closing(open_database(str(folder), WORDS)) as database:
        return [word for (word,) in database.execute("SELECT word FROM words_all ORDER BY rowid")]


def add(folder: Path, *new: str) -> None:
    with closing(open_database(str(folder), WORDS)) as database, transaction(database):
        database.executemany("INSERT INTO words_all VALUES (?)", [(word,) for word in new])


def test_rows_of_one_run_are_found_by_the_next(tmp_path: Path) -> None:
    add(tmp_path, "one", "two")
    assert words(tmp_path) == ["one", "two"]
    assert {file.name for file in tmp_path.iterdir()} <= {".movescu.sqlite", ".movescu.sqlite-journal"}


def test_users_of_the_database_do_not_see_each_other(tmp_path: Path) -> None:
    add(tmp_path, "one")
    with closing(open_database(str(tmp_path), NUMBERS)) as database:
        database.execute("INSERT INTO numbers_all VALUES (1)")
    newer = NUMBERS._replace(version=2, statements=("CREATE TABLE numbers_new (number INTEGER, text TEXT)",))
    with closing(open_database(str(tmp_path), newer)) as database:
        assert database.execute("SELECT * FROM numbers_new").fetchall() == []
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            database.execute("SELECT * FROM numbers_all")
    assert words(tmp_path) == ["one"]


@pytest.mark.row("86")
@pytest.mark.parametrize("where", [0, 4096, 5 * 4096], ids=["header", "page", "another page"])
def test_damaged_database_is_moved_aside_and_a_new_one_made(
    tmp_path: Path, where: int, caplog: pytest.LogCaptureFixture
) -> None:
    add(tmp_path, *(f"word {number}" for number in range(5000)))
    file = tmp_path / FILE_NAME
    content = bytearray(file.read_bytes())
    content[where : where + 4096] = b"\xa5" * 4096
    file.write_bytes(content)
    (tmp_path / f"{FILE_NAME}-journal").write_bytes(b"of the damaged one")
    assert words(tmp_path) == []
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == content
    assert "damaged" in caplog.text
    add(tmp_path, "again")
    assert words(tmp_path) == ["again"]


def test_database_that_is_damaged_again_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a disk that fails, or another program that keeps its file there."""
    (tmp_path / FILE_NAME).write_bytes(b"\xa5" * 8192)
    replace = files.replace

    def damaged_again(source: str, target: str) -> None:
        replace(source, target)
        (tmp_path / FILE_NAME).write_bytes(b"\xa5" * 8192)

    monkeypatch.setattr(files, "replace", damaged_again)
    with pytest.raises(StoreError, match=f"cannot use '.*{FILE_NAME}'"):
        open_database(str(tmp_path), WORDS)


def test_database_that_another_run_moved_aside_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xa5" * 8192)
    replace = files.replace

    def twice(source: str, target: str) -> None:
        replace(source, target)
        replace(source, target)

    monkeypatch.setattr(files, "replace", twice)
    assert words(tmp_path) == []


@pytest.mark.row("86")
@pytest.mark.parametrize("read_through", [4 << 20, 0], ids=["small", "large"])
def test_truncated_database_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_through: int) -> None:
    monkeypatch.setattr(database_file, "_READ_THROUGH", read_through)
    add(tmp_path, *(f"word {number}" for number in range(5000)))
    file = tmp_path / FILE_NAME
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert words(tmp_path) == []
    assert (tmp_path / f"{FILE_NAME}.damaged").exists()


@pytest.mark.row("86")
def test_damage_inside_a_large_database_is_met_where_it_is_and_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "_READ_THROUGH", 0)
    add(tmp_path, *(f"word {number}" for number in range(5000)))
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    content[5 * 4096 : 6 * 4096] = b"\xa5" * 4096
    (tmp_path / FILE_NAME).write_bytes(content)
    with closing(open_database(str(tmp_path), WORDS)) as database:
        with pytest.raises(StoreError, match=FILE_NAME) as caught, told_as_store_errors():
            database.execute("SELECT word FROM words_all").fetchall()
        assert "remove the file" in caught.value.hint
        with pytest.raises(StoreError, match=FILE_NAME) as caught, told_as_store_errors():
            database.execute("SELECT word FROM others")
        assert "free space" in caught.value.hint


@pytest.mark.row("86")
def test_database_of_another_program_is_moved_aside_and_not_changed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("CREATE TABLE words_all (word TEXT)")
        other.execute("INSERT INTO words_all VALUES ('foreign')")
        other.commit()
    content = (tmp_path / FILE_NAME).read_bytes()
    assert words(tmp_path) == []
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == content


@pytest.mark.row("86")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE movescu_tables SET version = 2",
        "DROP TABLE words_all; CREATE TABLE words_all (word TEXT, more TEXT); INSERT INTO words_all VALUES ('a', 'b')",
        "DROP TABLE words_all; CREATE VIEW words_all AS SELECT name AS word FROM movescu_tables",
        'CREATE TABLE "words_""quoted" (word TEXT)',
    ],
    ids=["newer", "other columns", "a view", "another table"],
)
def test_tables_of_another_version_are_made_anew(tmp_path: Path, change: str) -> None:
    add(tmp_path, "one")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.executescript(change)
    assert words(tmp_path) == []
    add(tmp_path, "two")
    assert words(tmp_path) == ["two"]


def test_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with closing(open_database(str(tmp_path), WORDS)) as database:
        with contextlib.suppress(StoreError), transaction(database):
            database.execute("INSERT INTO words_all VALUES ('one')")
            database.execute("INSERT INTO others VALUES ('one')")
        with transaction(database):
            database.execute("INSERT INTO words_all VALUES ('two')")
    assert words(tmp_path) == ["two"]


def test_open_waits_for_another_user_but_not_forever(tmp_path: Path) -> None:
    with (
        closing(open_database(str(tmp_path), WORDS)) as first,
        transaction(first),
        pytest.raises(StoreError, match="locked"),
    ):
        open_database(str(tmp_path), WORDS, wait=0.01)
    assert words(tmp_path) == []


@pytest.mark.parametrize("used", [False, True])
def test_closed_database_leaves_one_file_unless_another_run_uses_it(tmp_path: Path, *, used: bool) -> None:
    first, second = (open_database(str(tmp_path), WORDS) for _ in range(2))
    with closing(second):
        if used:
            second.execute("BEGIN EXCLUSIVE")
        close_database(first)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            first.execute("SELECT 1")
        assert (tmp_path / f"{FILE_NAME}-journal").exists() is used
    assert words(tmp_path) == []


def test_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="not a regular file"):
        open_database(str(tmp_path / "out"), WORDS)
    assert not (tmp_path / "elsewhere").exists()


KILLED = """
import os, signal, sys
from movescu.storage.index.database import Tables, open_database, transaction
database = open_database(sys.argv[1], Tables("words", 1, ("CREATE TABLE words_all (word TEXT)",)))
with transaction(database):
    database.execute("INSERT INTO words_all VALUES ('committed')")
database.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
with transaction(database):
    database.executemany("INSERT INTO words_all VALUES (?)", [("x" * 1000,)] * 2000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_process_leaves_what_it_had_committed(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / f"{FILE_NAME}-journal").exists()
    assert words(tmp_path) == ["committed"]
