"""``--setup`` and ``--sites``: from a few answers to a site that retrieves, and nothing of the user's file is lost."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import peers
import pytest
from terminal import Terminal

from movescu.cli.options import sites_file
from movescu.cli.options.command_line import parse
from movescu.cli.options.wishes import SetUpSite
from movescu.errors import UsageError
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = peers.free_port()


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """An archive that knows ME."""
    with Archive(destinations={"ME": (peers.HOST, OWN)}) as running:
        yield running


def run(home: Path, *arguments: str, answers: str = "", code: int = 0) -> str:
    command = [sys.executable, "-W", "error", "-m", "movescu", *arguments]
    environment = {"PATH": "/usr/bin", "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    ran = subprocess.run(
        command, check=False, cwd=home, env=environment, input=answers, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def written(home: Path) -> Path:
    return home / "movescu" / "sites.toml"


def test_setup_from_a_pipe_makes_a_site_that_works(archive: Archive, tmp_path: Path) -> None:
    said = run(tmp_path, "--setup", answers=f"hospital\nARCHIVE@{archive.host}:{archive.port}\n\nME\n{OWN}\n")
    assert tomllib.loads(written(tmp_path).read_text()) == {
        "hospital": {
            "peer": archive.host,
            "port": archive.port,
            "call": "ARCHIVE",
            "aetitle": "ME",
            "listen-port": OWN,
            "model": "study",
        }
    }
    for tested in (
        "connection: ",
        "association: ARCHIVE accepts ME",
        "own port: ",
        "move destination: ARCHIVE knows ME",
    ):
        assert f"ok       {tested}" in said
    assert "Subject: DICOM: please add AE title ME to ARCHIVE" in said
    assert f"port:      {OWN}" in said
    assert "ok       association" in run(tmp_path, "--site", "hospital", "--check")
    listed = run(tmp_path, "--sites")
    assert f"hospital  ARCHIVE@{archive.host}:{archive.port}  ME         on port {OWN}" in listed
    assert str(written(tmp_path)) in listed


def test_setup_on_a_terminal_asks_again_after_a_failure(archive: Archive, tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "NO_COLOR": "1"}
    answers = [
        ("--site", "pacs/1"),
        ("letters, digits, - and _ only", "pacs"),
        ("Host name", "http://archive"),
        ("not the URL", peers.HOST),
        ("Port of the archive", "1"),
        ("failed   connection", "again"),
        (rf"Host name or address of the archive \[{peers.HOST}\]", ""),
        (r"Port of the archive \[1\]", str(archive.port)),
        ("AE title of the archive", "ARCHIVE"),
        ("AE title of this computer", "ME"),
        ("with C-GET", "get"),
    ]
    with Terminal("--setup", folder=tmp_path, columns=200, environment=environment) as terminal:
        for question, answer in answers:
            terminal.read_until(rf"(?s){question}.*: $|{question}")
            terminal.output = ""
            terminal.type(f"{answer}\n")
        said = terminal.finish()
    assert "ok       C-GET" in said
    assert "Firewalls" in said
    site = tomllib.loads(written(tmp_path).read_text())["pacs"]
    assert (site["retrieve"], "listen-port" in site) == ("get", False)


def test_setup_that_ends_early_writes_nothing(tmp_path: Path) -> None:
    assert "nothing was written" in run(tmp_path, "--setup", answers="hospital\n", code=1)
    assert not written(tmp_path).exists()


def test_setup_takes_its_defaults_from_the_command_line(archive: Archive, tmp_path: Path) -> None:
    place = f"ARCHIVE@{archive.host}:{archive.port}"
    run(tmp_path, "--setup", "-aet", "ME", "--port", str(OWN), place, answers="\n\n\n\n\n\n")
    site = tomllib.loads(written(tmp_path).read_text())["archive"]
    assert (site["call"], site["aetitle"], site["listen-port"]) == ("ARCHIVE", "ME", OWN)


def test_words_beside_setup_and_sites_are_answers_or_refused(archive: Archive, tmp_path: Path) -> None:
    answers = f"\n{archive.host}\n{archive.port}\n\nME\nget\n"
    said = run(tmp_path, "--setup", "hospital", answers=answers)
    assert tomllib.loads(written(tmp_path).read_text())["hospital"]["peer"] == archive.host
    assert said.index("mkdir -p images") < said.index("-od images")
    with pytest.raises(SetUpSite) as asked:
        parse(["--setup", "--site", "hospital", "host", "104"])
    assert asked.value.given == {"name": "hospital", "peer": "host", "port": "104"}
    for words, refused in (
        ("--setup -od in", "--setup not allowed with --output-directory"),
        ("--setup -i0 host 104", "--setup not allowed with --ip-auto"),
        ("--setup host 104 query.dcm", "--setup not allowed with query files"),
        ("--sites --format json", "--sites not allowed with --format"),
        ("--sites hospital", "--sites not allowed with 'hospital'"),
    ):
        with pytest.raises(UsageError, match=refused):
            parse(words.split())


def test_own_title_that_the_archive_does_not_know_can_be_corrected(archive: Archive, tmp_path: Path) -> None:
    address = f"ARCHIVE@{archive.host}:{archive.port}"
    said = run(tmp_path, "--setup", answers=f"pacs\n{address}\n\nWRONG\n{OWN}\nagain\nME\n\n")
    assert "ARCHIVE does not know WRONG" in said
    assert "AE title of this computer [WRONG]: ME" in said
    assert f"receive on (get: retrieve with C-GET) [{OWN}]: " in said
    assert "ok       association: ARCHIVE accepts ME" in said
    site = tomllib.loads(written(tmp_path).read_text())["pacs"]
    assert (site["aetitle"], site["listen-port"]) == ("ME", OWN)


def test_answers_can_be_kept_though_the_archive_cannot_be_reached(tmp_path: Path) -> None:
    run(tmp_path, "--setup", answers=f"pacs\n{peers.HOST}\n1\nkeep\nPACS\nME\nkeep\nget\nkeep\n")
    assert tomllib.loads(written(tmp_path).read_text())["pacs"]["port"] == 1


def test_sites_without_a_file_name_the_setup(tmp_path: Path) -> None:
    assert "movescu --setup" in run(tmp_path, "--sites", code=1)


def test_site_that_is_wrong_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    written(tmp_path).parent.mkdir()
    written(tmp_path).write_text(
        "[good]\npeer='::1'\nport=104\n[bad]\nprot=1\n[defaults]\naetitle='ME'\nretrieve='get'\n"
    )
    said = run(tmp_path, "--sites")
    assert "good  ANY-SCP@[::1]:104  ME         by C-GET" in said
    assert "key 'prot' of site 'bad' is unknown" in said


# -- the file ------------------------------------------------------------------------------------------------------

OLD = """\
# our archives
[defaults]
aetitle = "ME"  # everywhere

[one] # the first
# its address
peer = "old"
port = 1
output-directory = "~/one"

# the second
["two"]
peer = "two"
port = 2
"""
REPLACED = frozenset(("peer", "port"))


def test_other_settings_and_comments_are_kept() -> None:
    new = sites_file.changed(OLD, "one", {"peer": "new", "port": 104}, REPLACED)
    assert tomllib.loads(new)["one"] == {"peer": "new", "port": 104, "output-directory": "~/one"}
    assert [line for line in OLD.splitlines() if line not in new.splitlines()] == ['peer = "old"', "port = 1"]
    assert sites_file.changed(OLD, "three", {"peer": "new"}, REPLACED) == f'{OLD}\n[three]\npeer = "new"\n'
    assert 'peer = "2"' in sites_file.changed(OLD, "two", {"peer": "2", "port": 2}, REPLACED)


@pytest.mark.parametrize(
    "text",
    [
        'one = {peer = "old", port = 1}\n',
        '[one]\npeer = """\nport = 1\n"""\nport = 1\n',
        'one.peer = "old"\n',
        '[defaults]\nx = """\n[one]\n"""\n[one]\npeer = "old"\n',
        "one = 1\n",
    ],
)
def test_file_that_cannot_be_changed_safely_is_refused_with_the_settings(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        sites_file.changed(text, "one", {"peer": "new", "port": 104}, REPLACED)
    assert 'peer = "new"' in caught.value.hint


def test_file_is_replaced_behind_its_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(OLD)
    (tmp_path / "real.toml").chmod(0o640)
    (tmp_path / "sites.toml").symlink_to("real.toml")
    sites_file.write(str(tmp_path / "sites.toml"), "new")
    assert (tmp_path / "sites.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"
    assert (tmp_path / "real.toml").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.toml", "sites.toml"]


def test_file_that_is_no_toml_is_refused_before_the_first_question(tmp_path: Path) -> None:
    written(tmp_path).parent.mkdir()
    written(tmp_path).write_text("[one\n")
    assert "it was not changed" in run(tmp_path, "--setup", answers="x\n", code=1)
    assert written(tmp_path).read_text() == "[one\n"
