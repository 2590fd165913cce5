"""``+ac`` from end to end: who is denied by hosts.allow and hosts.deny sees no PDU, and the retrieve goes on without.

What the rules mean is held against tcpdmatch elsewhere; DCMTK's movescu reads the system's own files, so it is shown
ours in a mount namespace.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import peers
import pytest
import scripted
from setting import KEY, Setting

from movescu.errors import ConnectionLostError, PeerError
from movescu.transport.sockets import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from command import Outcome


class Guarded(Setting):
    """A retrieve under rules of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.allow, self.deny = folder / "hosts.allow", folder / "hosts.deny"
        monkeypatch.setenv("MOVESCU_HOSTS_ALLOW", str(self.allow))
        monkeypatch.setenv("MOVESCU_HOSTS_DENY", str(self.deny))
        self.rule()

    def rule(self, *, allow: str = "", deny: str = "") -> None:
        self.allow.write_text(allow)
        self.deny.write_text(deny)

    def guarded(self, script: scripted.Script, *options: object, code: int = 0) -> Outcome:
        return self.run(script, "--linger", 0, *options, code=code)

    def knock(self) -> bytes:
        """Connect to our port, and give what comes before the end of the connection."""
        with contextlib.closing(connect(peers.HOST, self.port, scripted.PATIENCE)) as transport:
            buffer = memoryview(bytearray(100))
            with contextlib.suppress(ConnectionLostError):
                return bytes(buffer[: transport.receive_into(buffer, scripted.soon())])
            return b""


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    return Guarded(tmp_path, monkeypatch)


def is_let_in(setting: Guarded, *options: object) -> bool:
    """Whether a sender gets its association, and its objects are stored."""
    let_in: list[bool] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        try:
            setting.send(setting.made)
            let_in.append(True)
        except ConnectionLostError:
            let_in.append(False)
        session.respond()
        session.expect_release()

    setting.guarded(script, *options)
    setting.assert_arrived(setting.made if let_in[0] else [])
    return let_in[0]


@pytest.mark.parametrize(("completed", "code"), [(None, 0), (0, 0), (3, 63)])
def test_denied_sender_sees_no_pdu_and_what_it_was_to_send_is_missed(
    setting: Guarded, completed: int | None, code: int
) -> None:
    answers: list[bytes] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        answers.append(setting.knock())
        session.pending()
        session.respond(completed=completed)
        session.expect_release()

    setting.rule(deny="movescu: 127.0.0.1")
    outcome = setting.guarded(script, "+ac", "--linger", 1, code=code)
    assert answers == [b""]
    assert f"access control: denied connection from {_name()} (127.0.0.1)" in outcome.log
    assert str(setting.deny) in outcome.log
    setting.assert_arrived([])


def _name() -> str:
    from movescu.transport.access.decision import look_up  # what this machine calls itself

    return look_up("127.0.0.1", host_lookup=True).name


@pytest.mark.parametrize(
    ("allow", "deny", "options", "let_in"),
    [
        ("", "ALL: ALL", ["+ac"], False),
        ("", "ALL: ALL", [], True),
        ("", "ALL: ALL", ["+ac", "-ac"], True),
        ("", "ALL: ALL", ["-ac", "+ac"], False),
        ("movescu: 127.0.0.0/255.0.0.0", "ALL: ALL", ["+ac"], True),
        ("storescp: ALL", "ALL: ALL", ["+ac"], False),
        ("", "storescp: ALL", ["+ac"], True),
        ("ALL: ALL EXCEPT 127.", "ALL: ALL", ["+ac"], False),
        ("movescu: ALL: deny", "", ["+ac"], False),
        ("", "movescu: ALL: allow", ["+ac"], True),
    ],
)
def test_rules_decide_where_they_are_asked_for(
    setting: Guarded, allow: str, deny: str, options: Sequence[str], *, let_in: bool
) -> None:
    setting.rule(allow=f"{allow}\n", deny=f"{deny}\n")
    assert is_let_in(setting, *options) is let_in


@pytest.mark.skipif(_name() != "localhost", reason="this machine does not call itself localhost")
@pytest.mark.parametrize(("options", "let_in"), [(["+ac"], True), (["+ac", "-dhl"], False)])
def test_rules_with_names_match_no_more_where_names_are_not_looked_up(
    setting: Guarded, options: Sequence[str], *, let_in: bool
) -> None:
    setting.rule(allow="movescu: localhost\n", deny="ALL: ALL\n")
    assert is_let_in(setting, *options) is let_in


def test_rule_that_changes_in_mid_retrieve_counts_at_once(setting: Guarded) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        assert setting.knock() == b""
        setting.rule()
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()

    setting.rule(deny="ALL: ALL\n")
    setting.guarded(script, "+ac")
    setting.assert_arrived(setting.made)


def test_broken_rule_is_warned_of_once(setting: Guarded) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        for instance in setting.made:
            setting.send([instance])
        session.respond(completed=3)
        session.expect_release()

    setting.rule(allow="no rule at all\nmovescu: 127.0.0.1: spawn /bin/false: allow\nALL: ALL\n")
    log = setting.guarded(script, "+ac").log
    warnings = [line for line in log.splitlines() if line.startswith("W: access control")]
    assert len(warnings) == len(set(warnings)) == 2
    setting.assert_arrived(setting.made)


@pytest.mark.parametrize(("severity", "level"), [("err", "E"), ("daemon.warning", "W"), ("crit", "F"), ("debug", "")])
def test_rule_says_how_loud_a_denied_connection_is_told(setting: Guarded, severity: str, level: str) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        assert setting.knock() == b""
        session.respond(completed=0)
        session.expect_release()

    setting.rule(deny=f"movescu: ALL: severity {severity}\n")
    log = setting.guarded(script, "+ac").log
    assert [line[0] for line in log.splitlines() if "denied connection" in line] == ([level] if level else [])


# -- the oracle --------------------------------------------------------------------------------------------------------

UNDER = 'mount --bind "$1" /etc/hosts.allow && mount --bind "$2" /etc/hosts.deny && shift 2 && exec "$@"'


def can_mount() -> bool:
    if os.geteuid() != 0 or not os.path.exists("/etc/hosts.allow"):  # a question, not a path to use
        return False
    return subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
@pytest.mark.parametrize(
    ("allow", "deny", "let_in"),
    [
        ("", "ALL: ALL", False),
        ("movescu: 127.0.0.1", "ALL: ALL", True),
        ("storescp: ALL", "ALL: ALL", False),
        ("movescu: ALL: deny", "", False),
    ],
)
def test_dcmtk_lets_in_whom_we_let_in(setting: Guarded, allow: str, deny: str, *, let_in: bool) -> None:
    setting.rule(allow=f"{allow}\n", deny=f"{deny}\n")
    stored: list[bool] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        try:
            setting.send(setting.made[:1])
            stored.append(True)
        except PeerError:
            stored.append(False)
        session.abort()

    with scripted.archive(script) as archive:
        arguments = ["+ac", "-k", KEY, "+P", setting.port, *archive.address]
        command = ["unshare", "-m", "sh", "-c", UNDER, "sh", str(setting.allow), str(setting.deny)]
        subprocess.run(
            [*command, peers.dcmtk_movescu(), *map(str, arguments)],
            check=False,
            cwd=setting.received,
            capture_output=True,
            timeout=scripted.PATIENCE,
        )
    assert stored == [let_in]
    for file in setting.received.iterdir():
        file.unlink()
    assert is_let_in(setting, "+ac") is let_in
