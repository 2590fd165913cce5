"""Parser of the command line: settings, errors and hints; ``test_against_dcmtk`` compares it with DCMTK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peers
import pytest
from command import movescu
from hypothesis import given
from hypothesis import strategies as st
from terminal import Terminal

from movescu.cli.options.command_line import LONGEST_WAIT, arguments_lines, parse
from movescu.cli.options.settings import CommandSettings
from movescu.cli.options.suggestions import MEANT
from movescu.cli.options.table import NAMES, OPTIONS
from movescu.cli.options.wishes import ShowCompletion, ShowHelp, ShowVersion, Wish
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.errors import CommandLineError

if TYPE_CHECKING:
    from pathlib import Path

    from movescu.cli.options.option import Option

QUERY = ("archive", "104", "-k", "PatientID=1")


def refusal(*arguments: str) -> CommandLineError:
    with pytest.raises(CommandLineError) as caught:
        parse(arguments)
    return caught.value


def test_defaults_are_as_documented() -> None:
    assert parse(("archive", "104", "query.dcm")) == CommandSettings(
        peer="archive",
        port=104,
        query_files=("query.dcm",),
        keys=(),
        show_arguments=False,
        log_level="warn",
        log_config=None,
        model="PATIENT",
        calling_aet="MOVESCU",
        called_aet="ANY-SCP",
        move_destination=None,
        preferred=(EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE),
        proposed=(EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE),
        access_control=False,
        listen_port=None,
        pending_read=False,
        connect_timeout=30.0,
        acse_timeout=30.0,
        dimse_timeout=None,
        max_pdu=16384,
        host_lookup=True,
        repeat=1,
        abort=False,
        ignore=False,
        cancel_after=0,
        uid_padding=False,
        output_directory=".",
        bit_preserving=False,
        write_file_format=True,
        write_syntax=None,
        new_vr=True,
        group_length="recalculate",
        explicit_length=True,
        padding=(0, 0),
        compression_level=6,
        retrieve="move",
        durable="end",
        layout="flat",
        keys_only=False,
        accept_unknown=False,
        accept_nonstandard=False,
        allowed_aets=(),
        require_called_aet=False,
        accept_from=(),
        only_requested=False,
        listen_address="",
        max_associations=64,
        max_inflated=1024,
        priority=0,
        relational=False,
        enhanced_conversion=False,
        linger=10.0,
        store_timeout=60.0,
        stall_timeout=3600.0,
        total_timeout=0.0,
        user_name=None,
        password_file=None,
        kerberos_file=None,
        saml_file=None,
        jwt_file=None,
        ip="4",
        site=None,
        check=False,
        progress=True,
        report=None,
        events=None,
        html=None,
        live=None,
        thumbnails=False,
        pseudonymise=False,
        verify=False,
        retries=0,
        resume=False,
        retry_pause=1.0,
        on_study=None,
        on_series=None,
        on_jobs=1,
        manifest=None,
        list_file=None,
        failed=None,
        journal=None,
        status=None,
        check_files=None,
        sample=None,
        jobs=1,
        cluster=None,
        ae_pool=None,
        worker_files="shared",
        collect=None,
        slots=None,
        wait_for_archive=43200,
        between=None,
        order="list",
        split=0,
        limit_rate=None,
        dry_run=False,
        query=None,
        format="table",
        count=False,
        resolve=False,
        only=(),
        exclude=(),
        max_studies=None,
        tls=None,
        tls_password=None,
        tls_key_format="pem",
        tls_trusted_files=(),
        tls_trusted_directories=(),
        tls_crl_files=(),
        tls_peer="require",
        tls_check_host=True,
        tls_profile="bcp195",
        tls_ciphers=(),
        tls_server_name=None,
        tls_expected_name=None,
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-q", "log_level", "fatal"),
        ("-v", "log_level", "info"),
        ("-d", "log_level", "debug"),
        ("-v -d -v", "log_level", "info"),
        ("-ll TRACE", "log_level", "trace"),
        ("-ll all", "log_level", "trace"),
        ("-ll off", "log_level", "off"),
        ("--arguments", "show_arguments", True),
        ("-S", "model", "STUDY"),
        ("-i6", "ip", "6"),
        ("-i6 -i0", "ip", "auto"),
        ("--check", "check", True),
        ("--no-progress", "progress", False),
        ("-pdu auto", "max_pdu", 131072),
        ("--priority low", "priority", 2),
        ("--priority HIGH", "priority", 1),
        ("--linger 0", "linger", 0.0),
        ("+P 1 --allow-aet A --allow-aet B", "allowed_aets", ("A", "B")),
        ("+tls k c", "tls", ("k", "c")),
        ("+tls k c -tls", "tls", None),
        ("+tla", "tls", ("", "")),
        ("+tls k c +cf a +cf b", "tls_trusted_files", ("a", "b")),
        ("+tls k c -ic -vc", "tls_peer", "verify"),
        ("+tls k c -pw", "tls_password", ""),
        ("+tls k c +py", "tls_profile", "bcp195-nd"),
        ("-S -O", "model", "PSONLY"),
        ("-S -O -P", "model", "PATIENT"),
        ("-aet A", "calling_aet", "A"),
        ("-aet ABCDEFGHIJKLMNOPQRST", "calling_aet", "ABCDEFGHIJKLMNOP"),
        ("-aec B", "called_aet", "B"),
        ("--call=B=C", "called_aet", "B=C"),
        ("--port=11112", "listen_port", 11112),
        ("--query=series", "query", "SERIES"),
        ("-aem C", "move_destination", "C"),
        ("+xb", "preferred", (EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE)),
        ("+xi", "preferred", (IMPLICIT_LITTLE,)),
        ("+xs +xi +x=", "preferred", (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)),
        ("-xe", "proposed", (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)),
        ("-xb", "proposed", (EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE)),
        ("-xd", "proposed", (DEFLATED_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)),
        ("-xi", "proposed", (IMPLICIT_LITTLE,)),
        ("+P 11112", "listen_port", 11112),
        ("+P 11112 --no-port", "listen_port", None),
        ("+P 0 --no-port", "listen_port", None),
        ("-pr", "pending_read", True),
        ("-to 5", "connect_timeout", 5.0),
        ("-ta 5", "acse_timeout", 5.0),
        ("-td 5 -td 7", "dimse_timeout", 7.0),
        ("-td 99999999999", "dimse_timeout", float(LONGEST_WAIT)),
        ("-pdu 4096", "max_pdu", 4096),
        ("-dhl", "host_lookup", False),
        ("--repeat 3", "repeat", 3),
        ("--abort", "abort", True),
        ("--ignore", "ignore", True),
        ("--cancel 2", "cancel_after", 2),
        ("-up", "uid_padding", True),
        ("+P 1 -od out", "output_directory", "out"),
        ("+B", "bit_preserving", True),
        ("-F", "write_file_format", False),
        ("+te", "write_syntax", EXPLICIT_LITTLE),
        ("+tb", "write_syntax", EXPLICIT_BIG),
        ("+ti", "write_syntax", IMPLICIT_LITTLE),
        ("+td", "write_syntax", DEFLATED_LITTLE),
        ("+td +t=", "write_syntax", None),
        ("-u", "new_vr", False),
        ("+g", "group_length", "create"),
        ("-g", "group_length", "remove"),
        ("-e", "explicit_length", False),
        ("+p 512 8", "padding", (512, 8)),
        ("+p 512 8 -p", "padding", (0, 0)),
        ("+p 512 8", "file_padding", 512),
        ("+p 512 8", "item_padding", 8),
        ("+cl 9", "compression_level", 9),
        ("--keys-only", "keys_only", True),
        ("--durable object", "durable", "object"),
        ("--durable OFF", "durable", "off"),
        ("--layout study --port 11112", "layout", "study"),
        ("--accept-unknown", "accept_unknown", True),
        ("+B --accept-nonstandard", "accept_nonstandard", True),
    ],
)
def test_option_sets_its_field(words: str, field: str, value: object) -> None:
    assert getattr(parse((*QUERY, *words.split())), field) == value
    assert getattr(parse((*words.split(), *QUERY)), field) == value


LONG = "ABCDEFGHIJKLMNOPQRST"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (f"-aet {LONG}", "--aetitle is sent as 'ABCDEFGHIJKLMNOP'"),
        (f"-aec {LONG}", "--call is sent as 'ABCDEFGHIJKLMNOP'"),
        (f"-aem {LONG}", "--move is sent as 'ABCDEFGHIJKLMNOP'"),
        (f"-aem {LONG} -aec A{LONG}", "--move is sent as 'ABCDEFGHIJKLMNOP', --call is sent as 'AABCDEFGHIJKLMNO'"),
        (f"-aet {LONG} -aet ME -aec ABCDEFGHIJKLMNOP", ""),
    ],
)
def test_ae_title_over_16_characters_is_cut_with_one_warning(words: str, shown: str) -> None:
    warnings = parse((*QUERY, *words.split())).warnings
    assert warnings == ((f"AE titles have at most 16 characters: {shown}",) if shown else ())


def test_report_whose_name_is_no_json_file_has_one_warning() -> None:
    for name, count in (("r.xlsx", 1), ("r.csv", 0), ("r.json", 0), ("-", 0)):
        warnings = parse((*QUERY, "--port", "1", "--report", name)).warnings
        assert len(warnings) == count
        assert all(f"--report writes JSON to {name}" in text for text in warnings)


def test_ae_title_with_trailing_blanks_is_cut_silently() -> None:
    settings = parse((*QUERY, "-aet", f"ME{' ' * 20}"))
    assert not settings.warnings
    assert settings.calling_aet.strip() == "ME"


def test_ae_title_that_is_cut_is_logged_once(tmp_path: Path) -> None:
    arguments = (
        "-aec",
        LONG,
        "--report",
        "report.json",
        "-k",
        "QueryRetrieveLevel=STUDY",
        peers.HOST,
        peers.free_port(),
    )
    log = movescu(*arguments, folder=tmp_path, code=61).log
    warning = "W: AE titles have at most 16 characters: --call is sent as 'ABCDEFGHIJKLMNOP'\n"
    assert log.count(warning) == log.count("at most 16 characters") == 1


def test_keys_keep_their_order() -> None:
    # Which of two keys of one tag wins depends on it.
    assert parse(("-k", "PatientName=A", *QUERY, "--key", "StudyDate")).keys == (
        "PatientName=A",
        "PatientID=1",
        "StudyDate",
    )


def test_parameters_after_the_port_are_query_files() -> None:
    assert parse(("-v", "archive", "-S", "104", "a.dcm", "-q", "", "-5", "b c")).query_files == (
        "a.dcm",
        "",
        "-5",
        "b c",
    )


def test_option_value_is_taken_verbatim() -> None:
    settings = parse((*QUERY, "-aet", "--help", "-k", "+B"))
    assert settings.calling_aet == "--help"
    assert settings.keys[-1] == "+B"
    assert not settings.bit_preserving


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--version", "-q", "-h"), ("archive", "--help", "0", "+te", "+B")])
def test_help_is_shown(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ShowHelp):
        parse(arguments)


def test_version_is_shown() -> None:
    with pytest.raises(ShowVersion):
        parse(("archive", "--version"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "FISH"])
def test_completion_of_a_shell_is_shown(shell: str) -> None:
    with pytest.raises(ShowCompletion) as caught:
        parse(("archive", "--completion", shell))
    assert caught.value.shell == shell.lower()


def test_completion_of_an_unsupported_shell_is_refused() -> None:
    error = refusal("--completion", "tcsh")
    assert str(error) == "Invalid value for option --completion (tcsh)"
    assert error.hint == "Allowed: bash, zsh, fish."


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.refusal], ids=lambda o: o.long)
def test_unsupported_option_is_refused_by_name_even_with_quiet(option: Option) -> None:
    error = refusal(*QUERY, option.long, *["x"] * len(option.takes))
    assert str(error) == f"{option.long} {option.refusal}"
    assert error.early


def test_access_control_can_be_switched_off_again() -> None:
    assert parse((*QUERY, "+ac")).access_control
    assert not parse((*QUERY, "+ac", "-ac")).access_control


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("+te +B", "--write-xfer-little not allowed with --bit-preserving"),
        ("+B +te", "--write-xfer-little not allowed with --bit-preserving"),
        ("+te +tb +B", "--write-xfer-big not allowed with --bit-preserving"),
        ("-ll info -v", "--log-level not allowed with --verbose, --debug or --quiet"),
        ("-od x", "--output-directory only allowed with --port"),
        ("--layout study", "--layout only allowed with --port"),
        ("--cluster local:2 --ae-pool pool", "--cluster only allowed with --list"),
        ("--list f --cluster local:2 --ae-pool pool --query", "--cluster not allowed with --query"),
        ("--layout study --port 1 --ignore", "--layout not allowed with --ignore"),
        (
            "+cl 1 +te",
            "--compression-level only allowed with --propose-deflated, --write-xfer-deflated or --write-xfer-same",
        ),
        ("-pdu 21x", "Invalid value for option --max-pdu (21x)"),
        ("-pdu 4095", "Invalid value for option --max-pdu (underflow: 4095)"),
        ("-pdu 131073", "Invalid value for option --max-pdu (overflow: 131073)"),
        ("+cl -1", "Invalid value for option --compression-level (underflow: -1)"),
        ("-to 1_0", "Invalid value for option --timeout (1_0)"),
        ("-to \u0663", "Invalid value for option --timeout (\u0663)"),
        ("-to 1.5", "Invalid value for option --timeout (1.5)"),
        ("--durable never", "Invalid value for option --durable (never)"),
        ("-ll loud", "Invalid value for option --log-level (loud)"),
    ],
)
def test_command_line_mistake_is_named(words: str, text: str) -> None:
    assert str(refusal(*QUERY, *words.split())) == text


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--prot", "11112"), "Did you mean --port?"),
        (("--aetitel", "X"), "Did you mean --aetitle?"),
        (("-aet=ME",), "Pass the value as the next argument, after -aet."),
        (("--padding-create=1",), "Pass the value as the next argument, after --padding-create."),
        (("--verify=1",), "--verify takes no value."),
        (("--zzzzzzzz",), ""),
        (("--folder",), "You probably mean -od DIR (--output-directory)."),
        (("-o", "images"), "You probably mean -od DIR (--output-directory)."),
        (("--output=images",), "You probably mean -od DIR (--output-directory)."),
        (("--mrn", "1"), "You probably mean -k PatientID=ID."),
        (("--Level", "1"), "You probably mean -k QueryRetrieveLevel=STUDY."),
        (("--revocation",), "Did you mean --add-crl-file?"),
        (("--destination",), "You probably mean --move TITLE (-aem)."),
        (("-od", "x"), "Add --port NUMBER: receive objects on this TCP port."),
        (("-aet",), "--aetitle TITLE: AE title of this program."),
        (("-ll", "loud"), "Allowed: fatal, error, warn, info, debug, trace, off, all."),
        (("--durable", "never"), "Allowed: end, object, off."),
    ],
)
def test_command_line_mistake_comes_with_a_hint(arguments: tuple[str, ...], hint: str) -> None:
    assert refusal(*QUERY, *arguments).hint == hint


@pytest.mark.parametrize(
    ("words", "early", "silent"),
    [
        ("--nope", True, False),
        ("-q --nope", True, False),
        ("-q -aet", True, False),
        ("-q -ll info", True, False),
        ("+te +B", False, False),
        ("-q +te +B", False, True),
        ("-v -q -pdu 1", False, True),
        ("-q -v -pdu 1", False, False),
        ("-ll fatal -pdu 1", False, True),
        ("-ll off -pdu 1", False, True),
        ("-ll error -pdu 1", False, False),
    ],
)
def test_quiet_hides_mistakes_found_after_the_log_level(words: str, *, early: bool, silent: bool) -> None:
    error = refusal(*QUERY, *words.split())
    assert (error.early, error.silent) == (early, silent)


def test_arguments_are_logged_with_long_names() -> None:
    assert arguments_lines("/usr/bin/movescu", ("-S", "a", "104", "-aet", "-S", "-k", "")) == [
        "calling '/usr/bin/movescu' with 7 arguments: '--study' 'a' '104' '--aetitle' '-S' '--key' ",
        "",
    ]


def test_argument_with_line_end_cannot_forge_a_log_line() -> None:
    assert arguments_lines("movescu", ("a\nF: b",)) == ["calling 'movescu' with 1 arguments: 'a", "F: b' ", ""]


def test_command_file_that_is_unreadable_is_named(tmp_path: Path) -> None:
    assert str(refusal(f"@{tmp_path}/none")) == f"Cannot open command file '{tmp_path}/none'"
    assert str(refusal(f"@{tmp_path}")) == f"Cannot open command file '{tmp_path}'"
    assert str(refusal("@a\0b")) == "Cannot open command file 'a\0b'"


def test_command_file_in_utf_16_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "command.txt"
    file.write_bytes("archive 104".encode("utf-16"))
    error = refusal(f"@{file}")
    assert "command.txt" in str(error)
    assert "not text" in error.hint


def test_command_file_keeps_undecodable_bytes_of_file_names(tmp_path: Path) -> None:
    file = tmp_path / "command.txt"
    file.write_bytes(b"archive 104 k\xf6ln.dcm")
    assert parse((f"@{file}",)).query_files[0].encode("utf-8", "surrogateescape") == b"k\xf6ln.dcm"


WORDS = [name for option in OPTIONS for name in (option.short, option.long) if name]


@given(st.lists(st.sampled_from(WORDS) | st.sampled_from(["a", "104", "1", "-5", "", "-", "x=y"]), max_size=12))
def test_command_line_is_accepted_or_refused_without_other_errors(words: list[str]) -> None:
    try:
        settings = parse(words)
    except (CommandLineError, Wish):
        return
    if not (settings.check or settings.status or settings.check_files or settings.collect):  # which request nothing
        assert 1 <= settings.port <= 65535
        assert settings.query_files or settings.keys
    assert settings.log_level in ("off", "fatal", "error", "warn", "info", "debug", "trace")
    assert not (settings.bit_preserving and settings.write_syntax)


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["--query", "host", "104"], ""),
        (["--query", "series", "host", "104"], "SERIES"),
        (["--query", "STUDY", "host", "104"], "STUDY"),
        (["host", "104", "--query"], ""),
        (["host", "104", "--query", "image"], "IMAGE"),
        (["--query", "--count", "host", "104"], ""),
        (["host", "104"], None),
    ],
)
def test_query_takes_a_level_if_one_follows(words: list[str], level: str | None) -> None:
    settings = parse([*words, "-k", "PatientID=1"])
    assert (settings.query, settings.peer, settings.port) == (level, "host", 104)


def test_query_of_everything_needs_no_keys() -> None:
    assert parse(["--query", "--all", "host", "104"]).max_studies == 0


@pytest.mark.parametrize("words", [["--format", "csv"], ["--count"], ["--query", "--dry-run"], ["--max-studies", "0"]])
def test_query_options_in_wrong_company_are_refused(words: list[str]) -> None:
    with pytest.raises(CommandLineError):
        parse([*words, "-k", "PatientID=1", "host", "104"])


@pytest.mark.parametrize("service", ["get", "auto", "GET"])
def test_options_of_received_objects_need_no_port_with_get(service: str) -> None:
    settings = parse([*QUERY, "--retrieve", service, "-od", "x", "--verify"])
    assert (settings.retrieve, settings.listen_port, settings.output_directory) == (service.lower(), None, "x")


def test_options_of_received_objects_need_a_port_with_move() -> None:
    assert "only allowed with --port" in str(refusal(*QUERY, "--retrieve", "move", "-od", "x"))


@pytest.mark.parametrize(
    "words",
    [
        "--query stduy archive 104 -k PatientID=1",
        "--query anything archive 104 file.dcm",
        "--query stduy archive",
        "--query series2",
    ],
)
def test_level_of_a_query_that_is_misspelt_is_named_with_the_levels(words: str) -> None:
    error = refusal(*words.split())
    assert str(error) == f"Invalid value for option --query ({words.split()[1]})"
    assert error.hint == "Allowed: patient, study, series, image."


def test_peer_after_a_query_may_look_like_a_level() -> None:
    assert parse(("--query", "studi", "104", "-k", "PatientID=1")).peer == "studi"


@pytest.mark.parametrize(("port", "detail"), [("dicom", "dicom"), ("65536", "65536 (overflow)")])
def test_port_that_is_none_is_named(port: str, detail: str) -> None:
    error = refusal("archive", port, "-k", "PatientID=1")
    assert str(error) == f"Invalid parameter value {detail}"
    assert error.hint == "This is the port. Allowed: 1 to 65535."


# -- the archive's address in one word ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("host:104", ("host", 104, "ANY-SCP", "4")),
        ("ARCHIVE@host:104", ("host", 104, "ARCHIVE", "4")),
        ("-aec ARCHIVE ARCHIVE@host:104", ("host", 104, "ARCHIVE", "4")),
        ("-aec B host:104", ("host", 104, "B", "4")),
        ("A@B@host:104", ("host", 104, "A@B", "4")),
        ("[::1]:104", ("::1", 104, "ANY-SCP", "6")),
        ("-i0 ARCHIVE@[::1]:104", ("::1", 104, "ARCHIVE", "auto")),
        ("host:104 105", ("host:104", 105, "ANY-SCP", "4")),
        ("::1 104", ("::1", 104, "ANY-SCP", "4")),
    ],
)
def test_address_is_read_from_one_word_where_the_port_is_missing(
    words: str, expected: tuple[str, int, str, str]
) -> None:
    settings = parse([*words.split(), "-k", "PatientID=1"])
    assert (settings.peer, settings.port, settings.called_aet, settings.ip) == expected
    assert settings.query_files == ()


def test_parameters_after_an_address_are_query_files() -> None:
    assert parse(("ARCHIVE@host:104", "a.dcm", "b:5")).query_files == ("a.dcm", "b:5")


def test_address_may_follow_a_query_with_and_without_level() -> None:
    for words in ("--query host:104", "--query series host:104", "host:104 --query"):
        assert parse([*words.split(), "-k", "PatientID=1"]).peer == "host"
    assert str(refusal("--query", "seris", "host:104")) == "Invalid value for option --query (seris)"


@pytest.mark.parametrize("word", ["host:", "host:x", ":104", "::1:104", "a:b:104", "host:0", "host:65536"])
def test_word_that_is_no_address_leaves_the_port_missing(word: str) -> None:
    assert str(refusal(word, "-k", "PatientID=1")) == "Missing parameter port"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("http://host:104/ -k PatientID=1", "is not a URL"),
        ("--query host:104", "--all"),
        ("-to x host:104", "of seconds"),
        ("--live abc --list x ARCHIVE@host:104", "abc before it is read as the archive's host name"),
        ("host:0 -k PatientID=1", "port 0 is not a port number"),
        ("ARCHIVE@host -k PatientID=1", "'ARCHIVE@host' is not the address of an AE; write it as TITLE@host:port"),
        ("A12345678901234567@host:104 -k PatientID=1", "at most 16"),
    ],
)
def test_slips_of_a_first_command_line_have_advice(words: str, advice: str) -> None:
    assert advice in refusal(*words.split()).hint


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("-S -k StudyInstanceUID=1 --port -od o A@host:104", "--port has the value '-od'"),
        ("-od --port 11112 A@host:104", "--output-directory has the value '--port'"),
        ("-aet --port 11112 A@host:104", "--aetitle has the value '--port'"),
        ("-aet --port 11112 host 104", "--aetitle has the value '--port'"),
        ("--retry -aet ME A@host:104", "--retry has the value '-aet'"),
        ("--report -aet ME A@host:104", "--report has the value '-aet'"),
        ("-k -k PatientID=1 A@host:104", "--key has the value '-k'"),
        ("--verify --retry A@host:104", "--retry has the value 'A@host:104'"),
    ],
)
def test_option_that_swallowed_the_next_word_is_named(words: str, named: str) -> None:
    assert named in refusal(*words.split()).hint


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--query --verify", "--verify not allowed with --query", ""),
        ("--query --verify --port 11112", "--verify not allowed with --query", ""),
        ("--query -od o", "--output-directory not allowed with --query", ""),
        ("--query --listen ::1", "--listen not allowed with --query", "retrieves nothing"),
        ("--query --report x.json", "--query not allowed with --report", "--format json"),
        ("--status j -od o", "--output-directory not allowed with --status", "retrieves nothing"),
        ("--retrieve C-GET -od o", "Invalid value for option --retrieve (C-GET)", "move, get, auto"),
        ("+tla --port 11112", "--anonymous-tls not allowed with --port", "+tls KEY CERT"),
        ("--query --json", "Unknown option --json", "--format json"),
        ("--dry-run --json", "Unknown option --json", "--format json"),
        ("--query=series --csv x.csv", "Unknown option --csv", "--format csv"),
        ("--query --output=x.csv", "Unknown option --output=x.csv", "> FILE"),
        ("+P11112", "Unknown option +P11112", "+P 11112"),
        ("-aetME", "Unknown option -aetME", "-aet ME"),
    ],
)
def test_advice_does_not_lead_to_the_next_error(words: str, message: str, hint: str) -> None:
    error = refusal(*QUERY, *words.split())
    assert str(error) == message
    assert hint in error.hint


def test_site_whose_settings_store_objects_can_be_queried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "movescu").mkdir()
    text = "[a]\npeer = 'host'\nport = 104\nlisten-port = 11112\noutput-directory = 'in'\nverify = true\n"
    (tmp_path / "movescu" / "sites.toml").write_text(text)
    settings = parse(["--site", "a", "--query", "-k", "PatientID=1"])
    assert (settings.query, settings.verify) == ("", False)


def test_two_titles_for_the_archive_are_refused() -> None:
    assert "two AE titles for the archive: B" in str(refusal("-aec", "B", "A@host:104", "-k", "PatientID=1"))


def test_receiving_port_after_p_is_recognised_as_a_slip() -> None:
    hint = refusal("-p", "11112", "host", "104", "-k", "PatientID=1").hint
    assert hint == "The port to receive on is +P 11112 (--port); -p is --padding-off."


def test_names_that_are_tried_are_no_options_and_those_meant_are() -> None:
    assert not MEANT.keys() & NAMES.keys()
    for meant in set(MEANT.values()):
        word = meant.split()[0]
        assert word in NAMES or word == "TITLE@host:port,", meant


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--prot 1", "error: Unknown option --prot. Did you mean --port?"),
        (
            "-od x archive:104",
            "error: --output-directory only allowed with --port. Add --port NUMBER: receive objects on this TCP port.",
        ),
        (
            "-k MRN=1 archive:104",
            "error: bad key format or dictionary name not found in dictionary: MRN. Did you mean PatientID?",
        ),
    ],
)
def test_mistake_is_one_line_on_a_terminal(words: str, line: str, tmp_path: Path) -> None:
    with Terminal(*words.split(), folder=tmp_path, columns=200, environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.finish(code=1).splitlines() == [line]
