"""Progress on a terminal while objects are received, and nowhere else."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
from command import movescu
from rich.console import Console
from terminal import Screen, Terminal

from movescu.cli.output.progress import Display, ProgressState, packed
from movescu.cli.output.quantities import size_text, time_text
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 25
SUMMARY = r"25 objects, 89\.0 kB in \d\.\d s \(\d+(\.\d+)? kB/s\)"
SLOWLY = Faults(pause=0.05)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Instance]:
    """A study of small objects."""
    return corpus.make_study(tmp_path_factory.mktemp("made"), instances=COUNT, size=3072)


@pytest.fixture(scope="module")
def archive(made: list[corpus.Instance]) -> Iterator[Archive]:
    """An archive that has them, and knows us."""
    with Archive(made[0].path.parent, {"MOVESCU": (peers.HOST, peers.free_port())}) as running:
        yield running


@pytest.fixture
def keys(archive: Archive, made: list[corpus.Instance]) -> list[object]:
    """A command line that retrieves the study; the archive takes its time, so that there is something to see."""
    archive.faults = SLOWLY
    port = archive.destinations["MOVESCU"][1]
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}"]
    return [*keys, "+P", port, archive.host, archive.port]


# -- what is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_progress_on_a_terminal_ends_in_a_summary_line(keys: list[object], tmp_path: Path, columns: int) -> None:
    with Terminal(*keys, folder=tmp_path, columns=columns) as terminal:
        output = terminal.finish()
    assert re.search(rf"\d+ of {COUNT} objects", output)
    assert "━" in output
    assert "CTImageStorage" in output
    pictures, summary = output.rsplit("\x1b[?25h", 1)
    screen = Screen(columns)
    screen.feed(pictures)
    assert screen.widest < columns
    assert screen.text == ""  # nothing of it stays
    assert re.fullmatch(SUMMARY, summary.rstrip())


def test_log_lines_stand_whole_above_the_progress(
    keys: list[object], made: list[corpus.Instance], tmp_path: Path
) -> None:
    for instance in made[::5]:
        (tmp_path / f"CT.{instance.instance_uid}").mkdir()  # it cannot be stored then
    with Terminal(*keys, folder=tmp_path, columns=300) as terminal:
        output = terminal.finish(68)
    assert "━" in output
    screen = Screen(300)
    screen.feed(output)
    *log, summary = screen.text.split("\n")
    assert all(line.startswith(("E: ", "W: ")) for line in log), screen.text
    assert sum(line.startswith("E: object ") for line in log) == len(made[::5])
    assert re.search(r"^20 objects, .*, 5 failed$", summary)


def test_progress_counts_objects_sent_to_a_third_party(archive: Archive, keys: list[object], tmp_path: Path) -> None:
    with peers.storescp(aet="OTHER") as other:
        archive.destinations["OTHER"] = other.address
        keys[keys.index("+P") : keys.index("+P") + 2] = ["-aem", "OTHER"]
        with Terminal(*keys, folder=tmp_path) as terminal:
            output = terminal.finish()
    assert re.search(r" of 25 objects\S*  0:", output)
    assert re.search(r"25 objects delivered to OTHER in \d\.\d s\r\n\Z", output)


def test_interrupt_restores_the_terminal(archive: Archive, keys: list[object], tmp_path: Path) -> None:
    archive.faults = Faults(endless_pending=0.05)
    with Terminal(*keys, folder=tmp_path) as terminal:
        terminal.read_until(r"[1-9]\d*( of \d+)? objects")  # before, there is perhaps nothing to cancel
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("interrupt again to abort")
        terminal.process.send_signal(signal.SIGINT)
        output = terminal.finish(130)
    screen = Screen(80)
    screen.feed(output)
    assert screen.text.split("\n") == ["W: cancelling; interrupt again to abort", "F: interrupted"]
    assert screen.cursor_visible


def test_terminal_made_narrower_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # rich shows less on a dumb one
    state = ProgressState(4.0, 100, 1000, 1, 2_000_000, "CTImageStorage")
    display = Display(lambda: state)
    screen, written = Screen(80), io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, height=24)
    monkeypatch.setattr(display, "_console", console, raising=False)
    for columns in (80, 40, 25, 79):
        console.width = columns
        screen.resize(columns)
        display.draw()
        display.write(f"W: at {columns}\n")
        display.draw()
        screen.feed(written.getvalue())
        written.truncate(written.seek(0))
    rows = screen.text.split("\n")
    assert rows[:4] == ["W: at 80", "W: at 40", "W: at 25", "W: at 79"]
    assert len(rows) == 6, screen.text


# -- where it is not shown ---------------------------------------------------------------------------------------------


def test_quiet_shows_nothing_on_a_terminal(keys: list[object], tmp_path: Path) -> None:
    with Terminal("-q", *keys, folder=tmp_path) as terminal:
        assert terminal.finish() == ""


@pytest.mark.parametrize(("option", "term"), [("--no-progress", "xterm"), ("-S", "dumb"), ("-S", "")])
def test_no_progress_leaves_only_the_summary(keys: list[object], tmp_path: Path, option: str, term: str) -> None:
    with Terminal(option, *keys, folder=tmp_path, term=term) as terminal:
        assert re.fullmatch(SUMMARY, terminal.finish().rstrip())


def test_verbose_logs_lines_in_place_of_progress(keys: list[object], tmp_path: Path) -> None:
    with Terminal("-v", *keys, folder=tmp_path) as terminal:
        output = terminal.finish()
    assert "received final C-MOVE response" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_progress_colours_follow_the_environment(
    keys: list[object], tmp_path: Path, no_color: str, monkeypatch: pytest.MonkeyPatch, *, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    with Terminal(*keys, folder=tmp_path) as terminal:
        output = terminal.finish()
    screen = Screen(80)
    screen.feed(output)
    assert "━" in output
    assert bool(screen.colours) is coloured


def test_pipe_receives_no_progress(archive: Archive, keys: list[object], tmp_path: Path) -> None:
    archive.faults = Faults()
    assert movescu(*keys, folder=tmp_path).log == ""


def test_progress_is_not_loaded_without_a_terminal(archive: Archive, keys: list[object], tmp_path: Path) -> None:
    archive.faults = Faults()
    code = (
        "import sys; from movescu.cli.main import main; code = main(sys.argv[1:]);"
        "print(*sys.modules); sys.exit(code)"
    )  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, keys)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    late = {
        "rich",
        "tomllib",
        "movescu.cli.output.progress",
        "movescu.cli.options.sites",
        "movescu.cli.commands.check",
        "movescu.retrieve.connection_test",
    }
    assert not loaded & late


# -- its words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.00 MB"),
        (512_345_678, "512 MB"),
        (1.5e12, "1.50 TB"),
    ],
)
def test_sizes_have_three_digits(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_times_are_shown_as_clocks(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_progress_parts_wrap_to_the_next_row() -> None:
    parts = [("1234", ""), ("5678", ""), ("12345678901", ""), ("9", "")]
    assert [[text for text, _ in row] for row in packed(parts, 10)] == [["1234", "5678"], ["12345678901"], ["9"]]
