"""Access control: rule by rule against hosts_access(5) and hosts_options(5), and generated files against libwrap."""

from __future__ import annotations

import os
import socket
import time
from random import Random
from typing import TYPE_CHECKING

import pytest
import rulefiles
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from movescu.transport import network
from movescu.transport.access.decision import AccessRules, ConnectingHost, Verdict, look_up
from movescu.transport.access.rules import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACS = ConnectingHost("10.1.2.3", "pacs.example.org")
NAMELESS = ConnectingHost("10.1.2.3", "unknown")
LIAR = ConnectingHost("10.1.2.3", "paranoid")
SHORT = ConnectingHost("10.1.2.3", "pacs")
V6 = ConnectingHost("2001:db8::1", "unknown")
LINK_LOCAL = ConnectingHost("fe80::1%eth0", "unknown")
MAPPED = ConnectingHost("::ffff:10.1.2.3", "unknown")


def decide(
    allow: str | bytes,
    client: ConnectingHost,
    deny: str | bytes = "ALL: ALL\n",
    server: tuple[str, int | None] = ("", None),
    *,
    host_lookup: bool = False,
) -> Verdict:
    tables = (
        parse(text if isinstance(text, bytes) else text.encode(), name)
        for text, name in ((allow, "hosts.allow"), (deny, "hosts.deny"))
    )
    return AccessRules(*tables).allows(client, server[0], server_port=server[1], host_lookup=host_lookup)


def test_hosts_allow_precedes_hosts_deny_and_a_client_in_neither_may_connect() -> None:
    allow, deny = "movescu: 10.1.\n", "movescu: 10.\n"
    assert decide(allow, PACS, deny) == Verdict(
        allowed=True, rule="movescu: 10.1.", location="hosts.allow, line 1", severity="", warnings=()
    )
    assert decide("", PACS, deny) == Verdict(
        allowed=False, rule="movescu: 10.", location="hosts.deny, line 1", severity="", warnings=()
    )
    assert decide("", V6, deny) == Verdict(allowed=True, rule="", location="", severity="", warnings=())


@pytest.mark.parametrize(
    ("daemons", "matches"),
    [
        ("movescu", True),
        ("MOVESCU", True),
        ("ALL", True),
        ("KNOWN", True),
        ("LOCAL", False),
        ("mov*", True),
        ("?ovescu", True),
        (".escu", False),
        ("sshd", False),
        ("sshd, movescu", True),
        ("ALL EXCEPT movescu", False),
        ("ALL EXCEPT sshd", True),
        ("EXCEPT sshd movescu", False),
        ("ALL EXCEPT", True),
        ("104", True),
        ("+0104", True),
        ("105", False),
        ("104x", False),
        ("movescu@192.168.0.", True),
        ("movescu@10.", False),
        ("104@192.168.0.1", True),
        ("sshd@192.168.0.1", False),
        ("movescu@", False),
        ("@movescu", False),
        ("movescu@UNKNOWN", True),
        ("movescu@KNOWN", False),
    ],
)
def test_daemon_list_matches_as_libwrap_has_it(daemons: str, *, matches: bool) -> None:
    assert decide(f"{daemons}: ALL\n", PACS, server=("192.168.0.1", 104)).allowed is matches


def test_rule_with_an_unknown_server_port_or_address_does_not_match() -> None:
    assert not decide("0, 104, movescu@192.: ALL\n", PACS).allowed
    assert decide("movescu@UNKNOWN: ALL\n", PACS).allowed


def test_server_name_is_looked_up_only_for_a_rule_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, "store.example.org", ["192.168.0.1"])
    server = ("192.168.0.1", 104)
    assert decide("movescu@192., movescu@10.: ALL\n", PACS, server=server, host_lookup=True).allowed
    assert not asked
    assert decide("movescu@store.example.org: ALL\n", PACS, server=server, host_lookup=True).allowed
    assert asked
    assert not decide("movescu@store.example.org: ALL\n", PACS, server=server).allowed


@pytest.mark.parametrize(
    ("clients", "client", "matches"),
    [
        ("ALL", PACS, True),
        ("all", PACS, True),
        ("KNOWN", PACS, True),
        ("KNOWN", NAMELESS, False),
        ("KNOWN", LIAR, False),
        ("KNOWN", ConnectingHost("", "pacs"), False),
        ("UNKNOWN", NAMELESS, True),
        ("UNKNOWN", PACS, False),
        ("UNKNOWN", LIAR, False),
        ("UNKNOWN", ConnectingHost("", ""), True),
        ("PARANOID", LIAR, True),
        ("PARANOID", PACS, False),
        ("LOCAL", SHORT, True),
        ("LOCAL", PACS, False),
        ("LOCAL", NAMELESS, False),
        ("LOCAL", LIAR, False),
        ("pacs.example.org", PACS, True),
        ("PACS.Example.org", PACS, True),
        ("example.org", PACS, False),
        (".example.org", PACS, True),
        (".pacs.example.org", PACS, False),
        (".2.3", NAMELESS, True),
        ("pacs.", PACS, True),
        ("10.", PACS, True),
        ("10.1.2.", PACS, True),
        ("10.1.2.3", PACS, True),
        ("10.1", PACS, False),
        ("010.1.2.3", PACS, False),
        ("10.1.2.3.", PACS, False),
        ("*.example.org", PACS, True),
        ("P?CS.*.ORG", PACS, True),
        ("*a*a*a*z", PACS, False),
        ("pacs.example.org**", PACS, True),
        ("10.*.3", PACS, True),
        ("10.1.2.?", PACS, True),
        ("10.1.2.3?", PACS, False),
        ("10.0.0.0/255.0.0.0", PACS, True),
        ("10.0.2.0/255.0.255.0", PACS, True),
        ("10.1.2.3/255.0.0.0", PACS, False),
        ("10.1.2.3/255.255.255.255", PACS, False),
        ("10.0.0.0/8", PACS, True),
        ("10.1.2.3/32", PACS, True),
        ("10.1.2.3/8", PACS, False),
        ("10.0.0.0/33", PACS, False),
        ("0.0.0.0/0", PACS, False),
        ("0.0.0.0/0.0.0.0", PACS, True),
        ("10/8", PACS, False),
        ("0x0a.0.0.0/8", PACS, True),
        ("012.0.0.0/8", PACS, True),
        ("10.0.0.0/8.", PACS, True),
        ("10.0.0.0/255.0.0.0.", PACS, False),
        ("10.0.0.0/8", V6, False),
        ("*", V6, True),
        ("[2001:db8::1]", V6, True),
        ("[2001:DB8:0:0::1]", V6, True),
        ("[2001:db8::2]", V6, False),
        ("[2001:db8::]/32", V6, True),
        ("[2001:db8::ffff]/32", V6, True),
        ("[2001:db9::]/31", V6, True),
        ("[2001:db9::]/32", V6, False),
        ("[::]/0", V6, True),
        ("[::]/0", PACS, False),
        ("[::]/", V6, True),
        ("[::]/129", V6, False),
        ("[2001:db8::/32]", V6, False),
        ("2001*", V6, True),
        ("[fe80::1]", LINK_LOCAL, True),
        ("[fe80::]/10", LINK_LOCAL, True),
        ("fe80*", LINK_LOCAL, True),
        ("10.", MAPPED, True),
        ("10.0.0.0/8", MAPPED, True),
        ("[::ffff:10.1.2.3]", MAPPED, False),
        ("@trusted", PACS, False),
        ("ALL@ALL", PACS, True),
        ("UNKNOWN@10.", PACS, True),
        ("KNOWN@10.", PACS, False),
        ("root@10.", PACS, False),
        ("ALL@192.168.", PACS, False),
        ("ALL@10.0.0.0/8", PACS, True),
        ("ALL@[2001:db8::]/32", V6, True),
        ("ALL@", PACS, False),
        ("192.168. 10.", PACS, True),
        ("192.168.,10.", PACS, True),
        ("11. # 10.", PACS, True),
        ("ALL EXCEPT 10.", PACS, False),
        ("ALL EXCEPT 10. EXCEPT 10.1.", PACS, True),
        ("ALL EXCEPT 10. EXCEPT 10.1. except pacs.example.org", PACS, False),
        (".example.org EXCEPT terminal.example.org", PACS, True),
        ("", PACS, False),
    ],
)
def test_client_list_matches_as_libwrap_has_it(clients: str, client: ConnectingHost, *, matches: bool) -> None:
    assert decide(f"movescu: {clients}\n", client).allowed is matches


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("movescu: ALL\n", 1),
        (" movescu\t:\tALL \n", 1),
        ("movescu: ALL\r\n", 1),
        ("# note\n\n \t\nmovescu: ALL\n", 4),
        ("movescu: \\\n10.\n", 2),
        ("movescu: 10\\\n.\n", 2),
        ("mov\\\n  escu: ALL\n", 0),
        ("# note \\\nmovescu: ALL\n", 0),
        ("no separator\nmovescu: ALL\n", 2),
        ("movescu:\nmovescu: ALL\n", 2),
        ("movescu: 10.", 0),
        ("movescu: ALL\\\n", 0),
        ("movescu: ALL\n#", 1),
        ("mov\0escu: ALL\nmovescu: ALL\n", 0),
        ("movescu: [x:y], ALL\n", 1),
        ("ALL ]: ALL\n", 0),
        ("movescu:" + " " * 2035 + "ALL\n", 1),
        ("movescu:" + " " * 2036 + "ALL\n", 0),
        ("#" * 2047 + "\nmovescu: ALL\n", 0),
        ("movescu: \u212anown\n", 0),
    ],
    ids=range(20),
)
def test_lines_are_parsed_as_by_libwrap(text: str, line: int) -> None:
    verdict = decide(text, PACS)
    assert verdict.location == (f"hosts.allow, line {line}" if line else "hosts.deny, line 1")


@pytest.mark.parametrize("deny", ["ALL: ALL", "#", "sshd: ALL\nx", "sshd: ALL \\\n", "#" * 3000 + "\n"])
def test_truncated_hosts_deny_denies_clients_that_no_rule_allows(deny: str) -> None:
    verdict = decide("movescu: 10.1.\n", ConnectingHost("10.2.0.1", "unknown"), deny)
    assert not verdict.allowed
    assert "missing newline, or line too long" in verdict.warnings[0]
    assert decide("movescu: 10.1.\n", PACS, deny).allowed


def test_invalid_lines_are_reported_with_their_number() -> None:
    assert parse(b"one\nmovescu: ALL\ntwo", "rules").warnings == (
        'rules, line 1: missing ":" between daemons and clients: the line is ignored',
        "rules, line 3: missing newline, or line too long: the rest of the file is ignored",
    )


@pytest.mark.parametrize(
    ("options", "allowed", "denied"),
    [
        ("allow", True, True),
        ("deny", False, False),
        ("DENY", False, False),
        ("allow=", True, True),
        ("severity mail.info", True, False),
        ("severity = notice", True, False),
        ("severity info: allow", True, True),
        ("severity info: deny", False, False),
        ("keepalive", True, False),
        ("linger 5", True, False),
        ("nice", True, False),
        ("nice -5 : allow", True, True),
        ("rfc931", True, False),
        ("rfc931 5", True, False),
        ("umask 022", True, False),
        ("setenv NAME value", True, False),
        ("setenv NAME a\\:b : allow", True, True),
        ("spawn /bin/false", True, False),
        ("spawn /bin/false : allow", True, True),
        ("spawn a\\:b : deny", False, False),
        ("banners /etc/banners", True, False),
    ],
)
def test_option_has_its_effect_in_hosts_allow_and_hosts_deny(options: str, *, allowed: bool, denied: bool) -> None:
    rule = f"movescu: ALL: {options}\n"
    assert decide(rule, PACS).allowed is allowed
    assert decide("", PACS, rule).allowed is denied


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("", "missing option name"),
        ("allow:", 'option "allow" must be at the end'),
        ("severity info:", "missing option name"),
        ("= allow", "missing option name"),
        ("allow: deny", 'option "allow" must be at the end'),
        ("twist /bin/true : allow", 'option "twist" must be at the end'),
        ("allow 10.", 'option "allow" requires no value'),
        ("allow\\:", 'bad option name "allow:"'),
        ("/bin/mail root", 'bad option name "/bin/mail"'),
        ("severity", 'option "severity" requires a value'),
        ("severity loud", 'option "severity": bad value "loud"'),
        ("severity authpriv.info", 'option "severity": bad value "authpriv.info"'),
        ("linger -1", 'option "linger": bad value "-1"'),
        ("rfc931 0", 'option "rfc931": bad value "0"'),
        ("nice 5x", 'option "nice": bad value "5x"'),
        ("umask 9", 'option "umask": bad value "9"'),
        ("umask 1000", 'option "umask": bad value "1000"'),
        ("setenv =", 'option "setenv" requires a value'),
        ("setenv a=b c", 'option "setenv": bad value "a=b c"'),
        ("spawn", 'option "spawn" requires a value'),
    ],
)
def test_option_error_of_the_matching_rule_denies(options: str, problem: str) -> None:
    verdict = decide(f"movescu: ALL: {options}\n", PACS)
    assert not verdict.allowed
    assert verdict.warnings == (f"hosts.allow, line 1: {problem}; access is denied",)
    assert decide(f"movescu: 192.168.: {options}\n", PACS, "").allowed, "no other rule's options count"


def test_severity_is_passed_on_for_the_log() -> None:
    assert decide("ALL: ALL: severity local3.Notice\n", PACS).severity == "notice"
    assert decide("ALL: ALL: severity info: severity crit: deny\n", PACS).severity == "crit"


@pytest.mark.parametrize("keyword", ["spawn", "twist", "aclexec", "banners", "user", "group"])
def test_options_that_run_or_change_something_are_refused_with_file_and_line(keyword: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    verdict = decide(f"\nmovescu: ALL: {keyword} /bin/touch {trap}\n", PACS)
    assert verdict.warnings[0].startswith(f'hosts.allow, line 2: option "{keyword}" is refused')
    assert verdict.allowed is (keyword in {"spawn", "banners"})
    assert not trap.exists()


def test_patterns_that_never_match_are_reported() -> None:
    patterns = "@trusted 10.1.2.3/8 10.0.0.0/40 [::/32] [10.1.2.3]/32 /none ALL"
    assert decide(f"movescu: {patterns}\n", PACS).warnings == (
        "hosts.allow, line 1: netgroup @trusted never matches: netgroups are not supported",
        "hosts.allow, line 1: net/mask pattern 10.1.2.3/8 never matches",
        "hosts.allow, line 1: net/mask pattern 10.0.0.0/40 never matches",
        "hosts.allow, line 1: net/mask pattern [::/32] never matches",
        "hosts.allow, line 1: net/mask pattern [10.1.2.3]/32 never matches",
        "hosts.allow, line 1: /none cannot be read: No such file or directory",
    )


@pytest.mark.parametrize(
    ("words", "matches"),
    [
        ("10.1.2.3", True),
        ("192.168.\n\t10.0.0.0/8\n", True),
        ("ALL", True),
        ("UNKNOWN", False),
        (".example.org", True),
        ("[2001:db8::]/32", False),
        ("# 10.1.2.3", True),
        ("192.168.,10.", False),
        ("ALL EXCEPT 10.", True),
        ("unknown@10.", False),
        ("1\\\n0.", False),
        ("x\0 10.", True),
        ("$D/self 10.", True),
        ("$D/none", False),
        ("/", False),
        ("/dev/zero", False),
    ],
)
def test_pattern_file_matches_as_libwrap_has_it(words: str, *, matches: bool, tmp_path: Path) -> None:
    (tmp_path / "self").write_text(words.replace("$D", str(tmp_path)), encoding="utf-8")
    assert decide(f"movescu: {tmp_path}/self\n", PACS).allowed is matches
    assert decide(f"movescu: UNKNOWN@{tmp_path}/self\n", PACS).allowed is matches
    assert not decide(f"{tmp_path}/self: ALL\n", PACS).allowed, "a daemon list has no files"


def test_pattern_files_that_name_files_end_at_a_depth(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}").write_text(f"{tmp_path}/{number + 1} " * 1000, encoding="utf-8")
    verdict = decide(f"movescu: {tmp_path}/0\n", PACS)
    assert not verdict.allowed
    assert verdict.warnings == (f"hosts.allow, line 1: {tmp_path}/8 is not read: too many files name others",)


def test_rule_files_are_the_given_ones_else_those_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = rulefiles.write(tmp_path, "movescu: 10.\n", "movescu: ALL\n")
    monkeypatch.setenv("MOVESCU_HOSTS_ALLOW", str(case.allow))
    monkeypatch.setenv("MOVESCU_HOSTS_DENY", str(case.deny))
    assert AccessRules.read().allows(PACS).location == f"{case.allow}, line 1"
    assert AccessRules.read().allows(V6).location == f"{case.deny}, line 1"
    assert AccessRules.read(deny_path=os.devnull).allows(V6).allowed


def test_missing_file_has_no_rules(tmp_path: Path) -> None:
    rules = AccessRules.read(str(tmp_path / "a"), str(tmp_path / "b"))
    assert rules.allows(PACS).allowed
    assert rules.warnings == ()


def test_unreadable_file_never_grants_access(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    closed = AccessRules.read(nowhere, str(tmp_path))
    assert not closed.allows(PACS).allowed
    assert closed.warnings == closed.allows(PACS).warnings == (f"{tmp_path} cannot be read: Is a directory",)
    assert AccessRules.read(str(tmp_path), nowhere).warnings == closed.warnings
    assert AccessRules.read("\0", "\0").warnings


def resolver(monkeypatch: pytest.MonkeyPatch, name: str, addresses: list[str], canonical: str = "") -> list[str]:
    """Put a resolver in place of the system's that knows one host; what it was asked for is recorded."""
    asked: list[str] = []

    def getnameinfo(address: tuple[str, int], _flags: int) -> tuple[str, str]:
        asked.append(address[0])
        if not name:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return name, "0"

    def getaddrinfo(*_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        names = [canonical or name] + [""] * len(addresses)
        return [(0, 0, 0, names.pop(0), (address, 0)) for address in addresses]

    monkeypatch.setattr(network, "getnameinfo", getnameinfo)
    monkeypatch.setattr(network, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    ("address", "name", "addresses", "canonical", "found"),
    [
        ("10.1.2.3", "pacs.example.org", ["10.9.9.9", "10.1.2.3"], "", "pacs.example.org"),
        ("10.1.2.3", "pacs.example.org", ["10.1.2.3"], "PACS.example.org", "pacs.example.org"),
        ("10.1.2.3", "pacs.example.org", ["10.1.2.3"], "other.example.org", "paranoid"),
        ("10.1.2.3", "pacs.example.org", ["10.9.9.9"], "", "paranoid"),
        ("10.1.2.3", "pacs.example.org", [], "", "paranoid"),
        ("10.1.2.3", "10.9.9.9", ["10.1.2.3"], "", "paranoid"),
        ("10.1.2.3", "", [], "", "unknown"),
        ("127.0.0.1", "localhost", ["127.0.0.1"], "host.example.org", "localhost"),
        ("fe80::1%eth0", "ct.example.org", ["fe80::1%2"], "", "ct.example.org"),
        ("2001:db8:0::1", "ct.example.org", ["2001:db8::1"], "", "ct.example.org"),
    ],
)
def test_host_name_counts_only_if_it_resolves_to_the_address(
    address: str, name: str, addresses: list[str], canonical: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, name, addresses, canonical)
    assert look_up(address, host_lookup=True).name == found


def test_resolver_is_not_called_without_host_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, "pacs.example.org", ["10.1.2.3"])
    assert look_up("::ffff:10.1.2.3", host_lookup=False) == ConnectingHost("10.1.2.3", "unknown")
    assert not asked


@pytest.mark.parametrize("address", ["", "nonsense", "1.2.3", "10.1.2.3\0", "\udcff", "fe80::1%none", "%", "a" * 1000])
def test_lookup_of_an_invalid_address_is_no_error(address: str) -> None:
    assert look_up(address, host_lookup=True).name == "unknown"


def generated(directory: Path, number: int) -> list[rulefiles.Case]:
    random = Random(20260801)
    return [rulefiles.generate(random, directory / str(index)) for index in range(number)]


def assert_agreement(
    queries: list[rulefiles.Query], answers: list[bool], server: tuple[str, int | None] = ("", None)
) -> None:
    assert 0.2 < sum(answers) / len(answers) < 0.8, "the generator makes rules that matter"
    for query, answer in zip(queries, answers, strict=True):
        rules = AccessRules.read(str(query.case.allow), str(query.case.deny))
        verdict = rules.allows(
            ConnectingHost(query.address, query.name), server[0], server_port=server[1], host_lookup=True
        )
        assert verdict.allowed is answer, f"{query}{verdict}"


@pytest.mark.skipif(rulefiles.TCPDMATCH is None, reason="needs tcpdmatch (Debian: tcpd)")
def test_generated_files_decide_like_tcpdmatch(tmp_path: Path) -> None:
    cases = generated(tmp_path, examples(250))
    clients = [
        *((address, "unknown") for address in rulefiles.ADDRESSES),
        ("unknown", "unknown"),
        ("unknown", "paranoid"),
    ]
    queries = [
        rulefiles.Query(case, *clients[(index + step) % len(clients)])
        for index, case in enumerate(cases)
        for step in (0, 3, 5, 8, 10)
    ]
    assert_agreement(queries, rulefiles.ask_tcpdmatch(queries))


@pytest.mark.skipif(rulefiles.TCPDMATCH is None, reason="needs tcpdmatch (Debian: tcpd)")
def test_generated_files_decide_like_tcpdmatch_for_a_server_address(tmp_path: Path) -> None:
    # Both ask the resolver for this one's name, and every system's own file of hosts knows it.
    queries = [rulefiles.Query(case, "10.1.2.3") for case in generated(tmp_path, examples(150))]
    assert_agreement(queries, rulefiles.ask_tcpdmatch(queries, "movescu@127.0.0.1"), ("127.0.0.1", 0))


@pytest.mark.skipif(rulefiles.LIBWRAP is None, reason="needs libwrap (Debian: libwrap0)")
def test_generated_files_decide_like_libwrap_for_clients_with_names(tmp_path: Path) -> None:
    queries = [
        rulefiles.Query(case, address, rulefiles.NAMES[(index + step) % len(rulefiles.NAMES)])
        for index, case in enumerate(generated(tmp_path, examples(500)))
        for step, address in enumerate(rulefiles.ADDRESSES)
    ]
    assert_agreement(queries, rulefiles.ask_libwrap(queries))


@pytest.mark.skipif(rulefiles.TCPDMATCH is None, reason="needs tcpdmatch (Debian: tcpd)")
@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("movescu: ALL: aclexec /bin/true", "tcpdmatch does not run it either, but takes for granted that it agrees"),
        ("movescu: ALL: user root", "tcpdmatch does not try to change the user; libwrap fails unless root runs it"),
        ("movescu: ALL: group root", "the same"),
        ("movescu: 10.0.0.0/4294967304", "C cuts the number to 32 bits"),
    ],
)
def test_intended_differences_deny_where_tcpdmatch_grants(rule: str, reason: str, tmp_path: Path) -> None:
    query = rulefiles.Query(rulefiles.write(tmp_path, f"{rule}\n"), "10.1.2.3")
    assert rulefiles.ask_tcpdmatch([query]) == [True]
    assert AccessRules.read(str(query.case.allow), str(query.case.deny)).allows(NAMELESS).allowed is False, reason


WORDS = [
    *rulefiles.DAEMONS,
    *rulefiles.HOSTS,
    *rulefiles.OPTIONS,
    "EXCEPT",
    ":",
    " ",
    "\n",
    "\\\n",
    "\0",
    "\udcff",
    "9" * 99,
]
TEXTS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(WORDS), max_size=60).map(lambda words: " ".join(words).encode("utf-8", "surrogateescape")),
)


@given(TEXTS, TEXTS, st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.integers())
def test_parsing_and_deciding_never_raise(
    allow: bytes, deny: bytes, address: str, name: str, server: str, port: int
) -> None:
    verdict = decide(allow, ConnectingHost(address, name), deny, server=(server, port))
    for text in (verdict.rule, verdict.location, *verdict.warnings):
        assert text.isprintable(), "a log may say it as it is"
        text.encode()


def lines(text: str) -> Callable[[Path], str]:
    return lambda _: f"movescu: {text}\n" * 300


def listed(text: str) -> Callable[[Path], str]:
    def allow(directory: Path) -> str:
        (directory / "list").write_text(text, encoding="utf-8")
        return f"movescu: {directory}/list {directory}/list\n" * 300

    return allow


@pytest.mark.parametrize(
    "allow",
    [
        lines("*a" * 1000 + "b"),
        lines("*?" * 1000 + "b"),
        lines("ALL EXCEPT " * 180),
        lines("[" * 2000),
        lines("9" * 2000 + "/" + "9" * 30),
        lines("ALL:" + "\\:" * 900 + " = " * 20),
        lines("ALL: linger " + "9" * 1500),
        lambda _: "\\\n" * 500_000,
        lambda _: "\0\n" * 500_000,
        lambda _: "x\n" * 100_000,
        listed("*a" * 500_000),
        listed("[" * 500_000),
        listed("9" * 500_000),
        listed("[::]/" + "9" * 500_000),
        listed("1.2.3." + "9" * 500_000 + "/1"),
        listed("10.1.2.4 " * 50_000),
    ],
    ids=range(16),
)
@pytest.mark.sampled(3)
def test_decision_time_is_bounded_by_the_text(allow: Callable[[Path], str], tmp_path: Path) -> None:
    case = rulefiles.write(tmp_path, allow(tmp_path))
    start = time.thread_time()
    AccessRules.read(str(case.allow), str(case.deny)).allows(ConnectingHost("10.1.2.3", "a" * 255))
    assert time.thread_time() - start < 20  # of the processor, and not of the clock; at most one by itself
