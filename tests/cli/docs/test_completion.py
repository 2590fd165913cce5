"""Completion scripts in the shells themselves; the tests of a shell that is not installed are skipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import shells
from shells import Pressed, Shell

from movescu.cli.docs.completion import completion_text
from movescu.cli.options.table import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Press = Callable[[str], Pressed]

SHELLS = ["bash", "zsh", "fish"]

TYPED = {
    "movescu --log-l": "movescu --log-level ",
    "movescu archive 104 +acc": "movescu archive 104 +acc",
    "movescu -ll inf": "movescu -ll info ",
    "movescu archive --durable ob": "movescu archive --durable object ",
    "movescu -k StudyInst": "movescu -k StudyInstanceUID=",
    "movescu --key PatientBirthN": "movescu --key PatientBirthName=",
    "movescu -k QueryRetrieveLevel=ST": "movescu -k QueryRetrieveLevel=STUDY ",
    "movescu -k PatientID=1 -k SeriesInst": "movescu -k PatientID=1 -k SeriesInstanceUID=",
    "movescu +P 11112 -od fol": "movescu +P 11112 -od folder/",
    "movescu archive 104 quer": "movescu archive 104 query.dcm ",
    "movescu +p 1 2 archive 104 quer": "movescu +p 1 2 archive 104 query.dcm ",
    "movescu archive -v 104 +x= quer": "movescu archive -v 104 +x= query.dcm ",
    "movescu archive 104 -k PatientID=1 quer": "movescu archive 104 -k PatientID=1 query.dcm ",
    "movescu +tls key.pem cert": "movescu +tls key.pem cert.pem ",
    "movescu @comm": "movescu @commands.txt ",
    "movescu archive.ex": "movescu archive.example.org ",
    "movescu -aet ME archive.ex": "movescu -aet ME archive.example.org ",
    "movescu --site hosp": "movescu --site hospital ",
    "movescu --site hospital quer": "movescu --site hospital query.dcm ",
    "movescu ARCHIVE@host:104 quer": "movescu ARCHIVE@host:104 query.dcm ",
    "movescu host:104 -v quer": "movescu host:104 -v query.dcm ",
    "movescu --layout pat": "movescu --layout patient ",
    "movescu --list coh": "movescu --list cohort.csv ",
    "movescu --report fol": "movescu --report folder/",
    "movescu --setu": "movescu --setup ",
    "movescu -aet quer": "movescu -aet quer",
    "movescu archive quer": "movescu archive quer",
}
"""A line -> the line after TAB; unchanged where there are no candidates."""

TYPED_IN_BASH = {
    "movescu --query ser": "movescu --query series ",
    "movescu --query archive.ex": "movescu --query archive.example.org ",
    "movescu --query series archive.ex": "movescu --query series archive.example.org ",
    "movescu --query series archive 104 quer": "movescu --query series archive 104 query.dcm ",
}
"""The same, of an option that a word may follow."""

LISTED = {
    "movescu -ll ": {"fatal", "error", "warn", "info", "debug", "trace", "off"},
    "movescu -k QueryRetrieveLevel=": {"PATIENT", "STUDY", "SERIES", "IMAGE"},
    "movescu --site ": {"hospital", "practice"},
    "movescu --layout ": {"flat", "study", "patient", "bids-source"},
    "movescu --completion ": {"bash", "zsh", "fish"},
    "movescu --query ": {"patient", "study", "series", "image"},
    "movescu -k PatientB": {"PatientBirthDate=", "PatientBreedDescription="},
    "movescu archive 104 --write-xfer-": {"--write-xfer-same", "--write-xfer-little", "--write-xfer-deflated"},
    "movescu archive 104 +t": {"+t=", "+te", "+tls"},
    "movescu archive 104 ": {"query.dcm", "folder/"},
}
"""A line -> words among the candidates that TAB lists."""


def installed(shell: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    return shell


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completed")
    (folder / "folder").mkdir()
    for name in ("query.dcm", "key.pem", "cert.pem", "commands.txt", "cohort.csv", "two words.dcm"):
        (folder / name).touch()
    # Where shells look for hosts.
    (folder / "hosts").write_text("192.0.2.1 archive.example.org\n")
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "known_hosts").write_text("archive.example.org ssh-ed25519 AAAA\n")
    sites = folder / ".config" / "movescu" / "sites.toml"
    sites.parent.mkdir(parents=True)
    sites.write_text("[hospital]\npeer = 'archive.example.org'\nport = 104\n\n[practice]\n[defaults]\n")
    # Another program of this name, which knows no --completion, as DCMTK's does not.
    (folder / "movescu").write_text("#!/bin/sh\nexit 1\n")
    (folder / "movescu").chmod(0o755)
    return folder


@pytest.fixture(scope="module", params=SHELLS)
def press(request: pytest.FixtureRequest, folder: Path) -> Iterator[Press]:
    if installed(request.param) == "fish":
        yield lambda line: of_fish(line, folder)
    else:
        with Shell(request.param, folder) as shell:
            yield shell.press_tab


def of_fish(line: str, folder: Path) -> Pressed:
    """Return fish's candidates, which it prints without a terminal; a single one goes into the line."""
    script = "movescu --completion fish | source; complete -C $argv[1]"
    rows = [row.partition("\t")[0] for row in run("fish", "-N", "-c", script, line, folder=folder).splitlines()]
    begun = line.rpartition(" ")[2]
    if len(rows) != 1:
        return Pressed([word for row in rows for word in (row, row.partition("=")[2])], line)
    blank = "" if rows[0][-1] in "/=" else " "
    return Pressed(rows, line.removesuffix(begun) + rows[0].replace(" ", "\\ ") + blank)


def run(*command: str, folder: Path) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env=shells.environment(folder),
        check=False,
        capture_output=True,
        text=True,
        timeout=shells.PATIENCE,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script_passes_the_shells_syntax_check(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion_text(shell))
    run(installed(shell), "-n", str(script), folder=tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script_has_no_placeholder_left(shell: str) -> None:
    assert not [word for word in completion_text(shell).split("@")[1::2] if word.isupper()]


@pytest.mark.parametrize("line", TYPED)
@pytest.mark.sampled(3)
def test_tab_completes_the_word(press: Press, line: str) -> None:
    assert press(line).line == TYPED[line]


@pytest.mark.parametrize("line", TYPED_IN_BASH)
def test_tab_completes_the_word_that_may_follow_an_option(folder: Path, line: str) -> None:
    with Shell(installed("bash"), folder) as shell:
        assert shell.press_tab(line).line == TYPED_IN_BASH[line]


@pytest.mark.parametrize("line", TYPED_IN_BASH)
def test_tab_of_fish_completes_the_word_that_may_follow_an_option(folder: Path, line: str) -> None:
    installed("fish")
    assert of_fish(line, folder).line == TYPED_IN_BASH[line]


@pytest.mark.parametrize("line", LISTED)
def test_tab_lists_the_candidates(press: Press, line: str) -> None:
    # zsh shows no "=" that is to follow.
    assert {word.rstrip("=") for word in press(line).shown} >= {word.rstrip("=") for word in LISTED[line]}


def test_tab_quotes_a_file_name_with_a_blank(press: Press) -> None:
    assert press("movescu archive 104 two").line == "movescu archive 104 two\\ words.dcm "


def test_tab_lists_exactly_the_supported_options(press: Press) -> None:
    for sign in "-+":
        names = {name for option in OPTIONS if not option.refusal for name in (option.short, option.long)}
        shown = [word for word in press(f"movescu archive 104 {sign}").shown if word.startswith(sign) and len(word) > 1]
        expected = {name for name in names if name.startswith(sign)}
        assert expected <= set(shown)
        texts = [option.help for option in OPTIONS]  # zsh shows them, too, up to a semicolon
        told = {word for text in texts for word in (*text.split(), *text.partition(";")[0].split())}
        assert {word for word in shown if word != "--"} - expected <= told


def test_option_values_for_files_and_directories_are_completed_as_such() -> None:
    kinds = {"FILE": "file", "CERT": "file", "DIR": "directory"}
    values = [(option.long, value) for option in OPTIONS for value in option.takes]
    assert not [name for name, value in values if value.kind != kinds.get(value.metavar, value.kind)]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_works_beside_another_program_of_this_name(shell: str, folder: Path) -> None:
    with Shell(installed(shell), folder) as other:
        assert other.press_tab("./movescu -k StudyInst").line == "./movescu -k StudyInstanceUID="


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script_is_printed_without_other_arguments(shell: str) -> None:
    command = [sys.executable, "-m", "movescu", "--completion", shell]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout == completion_text(shell)
    assert not ran.stderr


def test_completion_keywords_are_those_of_identifiers() -> None:
    keywords = completion_text("keywords").split()
    assert {"PatientID", "StudyInstanceUID", "ReferencedSOPInstanceUID"} < set(keywords)
    assert not {"CommandField", "TransferSyntaxUID"} & set(keywords)
