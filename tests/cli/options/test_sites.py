"""Sites: settings of ``sites.toml`` act as if typed, and the command line wins over them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
from command import movescu

from movescu._runtime.record import names_of
from movescu.cli.options.command_line import parse
from movescu.cli.options.settings import CommandSettings
from movescu.cli.options.sites import sites_file
from movescu.cli.options.table import OPTIONS
from movescu.errors import CommandLineError
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.cli.options.option import Option

    Write = Callable[[str], Path]

KEY = ("-k", "PatientID=1")
PACS = """
[defaults]
aetitle = "WORKSTATION"
listen-port = 11112
verbose = true

[pacs]
peer = "pacs.example.org"
port = 104
call = "PACS"
move = "ELSEWHERE"
model = "study"
output-directory = "images"
dimse-timeout = 60
allow-aet = ["PACS", "PACS2"]
padding-create = [128, 16]
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes the file to its place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text: str) -> Path:
        path = Path(sites_file())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def at_pacs(*arguments: str) -> CommandSettings:
    return parse(("--site", "pacs", *arguments))


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandLineError) as caught:
        at_pacs(*arguments, *KEY)
    return f"{caught.value} ({caught.value.hint})"


# -- what counts -------------------------------------------------------------------------------------------------------


def test_site_equals_the_options_it_stands_for(write: Write) -> None:
    write(PACS)
    words = "-aet WORKSTATION +P 11112 -v -aec PACS -aem ELSEWHERE -S -od images -td 60 +p 128 16"
    typed = parse(("--site", "pacs", *words.split(), "--allow-aet", "PACS", "--allow-aet", "PACS2", *KEY))
    spelled = parse((*words.split(), "--allow-aet", "PACS", "--allow-aet", "PACS2", "pacs.example.org", "104", *KEY))
    for field in names_of(CommandSettings):
        if field not in ("site", "allowed_aets"):
            assert getattr(at_pacs(*KEY), field) == getattr(typed, field) == getattr(spelled, field)
    assert at_pacs(*KEY).allowed_aets == spelled.allowed_aets


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-aec OTHER", "called_aet", "OTHER"),
        ("-P", "model", "PATIENT"),
        ("+P 4242", "listen_port", 4242),
        ("-td 5", "dimse_timeout", 5.0),
        ("-q", "log_level", "fatal"),
        ("-ll debug", "log_level", "debug"),  # which does not go with --verbose
        ("--no-port", "output_directory", "."),  # which does not go without --port
        ("-F", "padding", (0, 0)),  # --padding-create does not go with --write-dataset
        ("host 105", "peer", "host"),
        ("host 105", "port", 105),
        ("host 105 a.dcm", "query_files", ("a.dcm",)),
        ("a.dcm b.dcm", "query_files", ("a.dcm", "b.dcm")),
        ("a.dcm", "peer", "pacs.example.org"),
        ("--allow-aet TYPED", "allowed_aets", ("TYPED", "PACS", "PACS2")),
    ],
)
def test_command_line_wins_over_site(write: Write, words: str, field: str, value: object) -> None:
    write(PACS)
    for arguments in ((*words.split(), "--site", "pacs", *KEY), ("--site", "pacs", *KEY, *words.split())):
        assert getattr(parse(arguments), field) == value


def test_site_wins_over_defaults_and_can_drop_them(write: Write) -> None:
    write('[defaults]\nverbose = true\naetitle = "A"\n[pacs]\npeer = "h"\nport = 1\nverbose = false\naetitle = "B"\n')
    assert at_pacs(*KEY).log_level == "warn"
    assert at_pacs(*KEY).calling_aet == "B"


def test_site_that_is_rightmost_wins(write: Write) -> None:
    write('[a]\npeer = "a"\nport = 1\n[b]\npeer = "b"\nport = 2\n')
    assert parse(("--site", "a", "--site", "b", *KEY)).peer == "b"


def test_site_keys_follow_typed_keys(write: Write) -> None:
    write('[pacs]\npeer = "h"\nport = 1\nkey = ["PatientID=2", "QueryRetrieveLevel=PATIENT"]\n')
    assert at_pacs().keys == ("PatientID=2", "QueryRetrieveLevel=PATIENT")
    assert at_pacs(*KEY).keys == ("PatientID=1", "PatientID=2", "QueryRetrieveLevel=PATIENT")  # the leftmost counts


def test_site_paths_expand_the_home_directory(write: Write) -> None:
    write('[pacs]\npeer = "h"\nport = 1\nenable-tls = ["~/key", "cert"]\nadd-cert-file = ["~/ca.pem"]\ncall = "~/A"\n')
    settings = at_pacs(*KEY)
    assert settings.tls == (os.path.expanduser("~/key"), "cert")  # what the shell would have made of it
    assert settings.tls_trusted_files == (os.path.expanduser("~/ca.pem"),)
    assert settings.called_aet == "~/A"


def test_sites_file_is_in_the_xdg_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for base, place in (
        ("/etc/xdg", "/etc/xdg"),
        ("", "/home/somebody/.config"),
        ("not/absolute", "/home/somebody/.config"),
    ):
        monkeypatch.setenv("XDG_CONFIG_HOME", base)
        assert sites_file() == f"{place}/movescu/sites.toml"


ASKED_FOR_ONCE = ("--site", "--check", "--arguments")


def test_site_accepts_every_option_as_a_key(write: Write) -> None:
    for option in OPTIONS:
        if option.field and not option.refusal and option.long not in ASKED_FOR_ONCE:
            assert "only allowed with" in complaint(option, write), option.long


def complaint(option: Option, write: Write) -> str:
    """What is said of a site with an option: nothing else than that it needs another one."""
    name = option.long.removeprefix("--")
    values = {"text": '"t"', "file": '"t"', "directory": '"t"', "host": '"t"', "key": '"t"', "title": '"t"'}
    texts = []
    for value in option.takes:
        choice = f'"{next(iter(value.choices))}"' if value.choices and value.kind == "choice" else ""
        texts.append(choice or values.get(value.kind, str(value.low or 1)))
    text = f"[{', '.join(texts)}]" if texts else "true"
    key = {"port": "listen-port"}.get(name, name)
    needs = "anonymous-tls = true\n" if "--anonymous-tls" in option.needs else ""
    write(f'[pacs]\npeer = "h"\nport = 1\n{needs}{key} = {text}\n')
    try:
        at_pacs(*KEY)
    except CommandLineError as error:
        return str(error)
    return "only allowed with"


def test_retrieve_needs_only_a_site_and_keys(write: Write, tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, size=2048)
    (tmp_path / "out").mkdir()
    with Archive(tmp_path, {"ME": (peers.HOST, peers.free_port())}) as archive:
        write(
            f'[pacs]\npeer = "{archive.host}"\nport = {archive.port}\naetitle = "ME"\nmodel = "study"\n'
            f"listen-port = {archive.destinations['ME'][1]}\n"
        )
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}")
        assert len(movescu("--site", "pacs", *keys, folder=tmp_path / "out").files) == 1


# -- what is wrong with a file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cal = 'PACS'", "key 'cal' of site 'pacs' is unknown (Did you mean 'call'?)"),
        ("help = true", "key 'help' of site 'pacs' is unknown"),
        ("check = true", "key 'check' of site 'pacs' is unknown"),
        ("port = 'x'", "key 'port' of site 'pacs': 'x' is not a number from 1 to 65535"),
        ("port = 70000", "key 'port' of site 'pacs': 70000 is not a number from 1 to 65535"),
        ("peer = 7.5", "key 'peer' of site 'pacs': 7.5 is neither text nor a whole number"),
        ("listen-port = 0", "key 'listen-port' of site 'pacs': Invalid value for option --port (underflow: 0)"),
        ("max-pdu = 'much'", "key 'max-pdu' of site 'pacs': Invalid value for option --max-pdu (much)"),
        ("model = 'series'", "key 'model' of site 'pacs': 'series' is not a model (Models: patient, study, psonly.)"),
        ("model = ['study']", "key 'model' of site 'pacs': ['study'] is neither text nor a whole number"),
        ("model = 1", "key 'model' of site 'pacs': 1 is not a model"),
        (f"port = 0x{'f' * 5000}", "key 'port' of site 'pacs': a number of thousands of digits is not a number from 1"),
        (f"call = 0x{'f' * 17}", "key 'call' of site 'pacs': the number is too large"),
        (f"call = {{a = 0x{'f' * 5000}}}", "key 'call' of site 'pacs': a number of thousands of digits is neither"),
        (f"call = {'[' * 5000}", "maximum recursion depth exceeded"),
        ("verbose = 'yes'", "key 'verbose' of site 'pacs' takes no value (Write true, or false to drop the default.)"),
        ("call = ['A', 'B']", "key 'call' of site 'pacs' takes 1 values: TITLE"),
        ("enable-tls = 'key'", "key 'enable-tls' of site 'pacs' takes 2 values: KEY, CERT"),
        ("= 1", "Invalid statement (at line 1, column 1)"),
        ("[other]", "'pacs' is not a table (Write [pacs] above its settings.)"),
    ],
)
def test_site_mistake_is_reported_with_file_and_key(write: Write, line: str, message: str) -> None:
    table = "pacs = 1\n[other]" if line == "[other]" else f"[pacs]\n{line}"
    path = write(line if line == "= 1" else table)
    assert refusal().startswith(f"{path}: {message}")


def test_site_that_is_unknown_is_reported_with_the_known_ones(write: Write) -> None:
    path = write("[defaults]\n[pact]\n")
    assert refusal() == f"{path}: there is no site 'pacs' (Did you mean 'pact'?)"
    path.write_text("[one]\n[two]\n")
    assert refusal() == f"{path}: there is no site 'pacs' (Sites: one, two.)"


def test_sites_file_that_is_missing_is_reported_with_path_and_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    outcome = movescu("--site", "pacs", *KEY, folder=tmp_path, code=1)
    assert f"error: there is no file of sites: {tmp_path}/movescu/sites.toml\n" in outcome.log
    assert 'lines such as peer = "host" and port = 104' in outcome.log


def test_site_without_peer_needs_one_on_the_command_line(write: Write) -> None:
    path = write("[pacs]\nport = 104\n")
    assert refusal() == f"{path}: site 'pacs' has no 'peer' (Add it to the site, or type peer and port.)"
    assert at_pacs(*KEY, "host", "105").port == 105


def test_site_option_without_its_need_is_refused(write: Write) -> None:
    write('[pacs]\npeer = "h"\nport = 1\nadd-cert-file = ["ca.pem"]\n')  # without TLS the file would be for nothing
    assert "--add-cert-file only allowed with --enable-tls or --anonymous-tls" in refusal()


def test_site_may_retrieve_by_get_without_a_port(write: Write) -> None:
    write('[pacs]\npeer = "pacs"\nport = 104\nretrieve = "get"\noutput-directory = "images"\n')
    settings = parse(["--site", "pacs", *KEY])
    assert (settings.retrieve, settings.listen_port, settings.receives) == ("get", None, True)
    assert settings.output_directory == "images"
