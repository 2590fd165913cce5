"""Files of access rules, made up at random, and what libwrap itself says of them.

``generate`` writes hosts.allow and hosts.deny from the language of hosts_access(5) and hosts_options(5), errors
included. Two oracles: ``tcpdmatch`` (Debian: tcpd) for addresses, and ``libwrap`` the library, in a process of its
own and told to run nothing, for names that no resolver would have to know.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

TCPDMATCH: Final = shutil.which("tcpdmatch", path=os.environ.get("PATH", "") + ":/usr/sbin")
LIBWRAP: Final = ctypes.util.find_library("wrap")


def words(text: str, separator: str | None = None) -> tuple[str, ...]:
    """Take a table of words apart."""
    return tuple(text.split(separator))


ADDRESSES: Final = words(
    "10.1.2.3 10.1.3.77 10.200.0.1 192.168.7.9 127.0.0.1 2001:db8::1 2001:db8:5::a:b ::1 fe80::1 ::ffff:10.1.2.3"
)
NAMES: Final = words("pacs.example.org CT1.Radiology.example.ORG ws local.host unknown paranoid 10.example.net")

DAEMONS: Final = words("""
    movescu movescu movescu movescu movescu movescu movescu ALL ALL ALL ALL MoveSCU mov* *scu ?ovescu sshd in.ftpd
    KNOWN UNKNOWN LOCAL movescu. .scu 0 movescu@ALL movescu@UNKNOWN movescu@KNOWN movescu@127. movescu@127.0.0.0/8
    movescu@[::1] ALL@10. @movescu movescu@ sshd@ALL [movescu] /etc/hosts movescu@LOCAL movescu@@ALL
""")
HOSTS: Final = words("""
    ALL ALL LOCAL KNOWN UNKNOWN PARANOID all Known local unknown
    .example.org .ORG example.org pacs.example.org pacs.* *.example.* ws W? ?s .net localhost .localhost local*
    10. 10.1. 10.1.2. 10.1.2.3. 10.1.2.3 10.1 192.168.7.9 127. 127.0.0.1 .3 .2.3
    10.* 10.1.?.* * ** ? *.*.*.* 1?.1.2.3 *:* 2001* 2001. fe80* *. ?.*
    [::1] [2001:db8::1] [2001:DB8:0::1] ::1 [::1 ::1] [] []/0 [::]/0 [::]/ [::]/-1 [2001:db8::]/129 [2001:db8::]/32x
    [2001:db8::/32] [10.1.2.3] [10.0.0.0]/8 [::ffff:10.1.2.3] [::ffff:0:0]/96 [fe80::]/10
    10.0.0.0/ 10.0.0.0/8. 10.0.0.0/+8 10.0.0.0/08 10.0.0.0/33 10/8 0/0 0.0.0.0/0 0.0.0.0/0.0.0.0 10.0.0.0/255.0.0
    10.0.0.0/255.0.0.0. 10.1.2.3/255.255.255.255 10.1.2.3/32 10.1.2.3/8 0x0a.0.0.0/8 012.0.0.0/0377.0.0.0 08.0.0.0/8
    10.0.2.0/255.0.255.0 255.255.255.255/8 10.0.0.256/8 10.0.0.0/8/8 localhost/8 KNOWN/8
    $D/list $D/list2 $D/none $D / 10.1.2.3, ,, # #x EXCEPT except ] [ a\\ @ @@ . ..
""")
USERS: Final = ("ALL", "KNOWN", "UNKNOWN", "unknown", "root", "unk*", ".known", "unknown.", "x@y", "")
OPTIONS: Final = words(
    "allow|deny|ALLOW|Deny|allow x|deny=|deny = x|severity info|severity mail.info|severity=local3.debug|"
    "severity bogus|severity mail.|severity|spawn /bin/true|spawn|spawn x\\:y|twist /bin/false|twist|banners /nowhere|"
    "nice|nice 5|nice x|umask 022|umask 9|umask 1777|linger 5|linger -5|linger 5x|keepalive|keepalive x|keepalive=|"
    "rfc931|rfc931 5|rfc931 0|setenv A b|setenv A=b|setenv A|setenv|setenv =b|bogus|/bin/echo hello|(a b) &||  |=|"
    "allow\\:",
    "|",
)
LINES: Final = (
    "",
    "# note: ALL",
    " # note: ALL",
    "no separator",
    ":",
    "::",
    " \t ",
    "movescu",
    "ALL:",
    "ALL: :",
    "\0",
    "x\0: ALL",
)


@dataclass(frozen=True)
class Case:
    """A directory with hosts.allow and hosts.deny."""

    directory: Path

    @property
    def allow(self) -> Path:
        return self.directory / "hosts.allow"

    @property
    def deny(self) -> Path:
        return self.directory / "hosts.deny"

    def text(self) -> str:
        return "".join(f"--- {file.name}\n{file.read_bytes()!r}\n" for file in sorted(self.directory.iterdir()))


def write(directory: Path, allow: str | bytes, deny: str | bytes = "ALL: ALL\n", **lists: str) -> Case:
    """Make a case; ``$D`` in a text is its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in {"hosts.allow": allow, "hosts.deny": deny, **lists}.items():
        data = text if isinstance(text, bytes) else text.encode()
        (directory / name).write_bytes(data.replace(b"$D", os.fsencode(directory)))
    return Case(directory)


def generate(random: Random, directory: Path) -> Case:
    """Make up a pair of files."""
    deny = "ALL: ALL\n" if random.random() < 0.5 else _rules(random)
    # A list that names itself ends tcpdmatch, not us.
    plain = [word for word in HOSTS if not word.startswith("$D/list")]
    lists = {
        "list": _words(random, plain, 3),
        "list2": _words(random, plain, 2) + random.choice(("", "\n", " $D/list\n")),
    }
    return write(directory, _rules(random), deny, **lists)


def _words(random: Random, words: Sequence[str], most: int) -> str:
    text = ""
    for _ in range(random.randint(1, most)):
        text += random.choice(words) + random.choice((" ", " ", ", ", ",", "\t", " \\\n "))
    return text


def _rules(random: Random) -> str:
    text = "".join(_line(random) + "\n" for _ in range(random.randint(0, 5)))
    if random.random() < 0.15:
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice("\0\n\\:,[]@/.*#= ") + text[at + random.randint(0, 1) :]
    return text[:-1] if random.random() < 0.05 else text


def _line(random: Random) -> str:
    if random.random() < 0.1:
        return random.choice(LINES)
    if random.random() < 0.01:
        return "#" * random.randint(2040, 2052)
    fields = [_list(random, lambda: random.choice(DAEMONS)), _list(random, lambda: _client(random))]
    while random.random() < 0.3:
        fields.append(random.choice(OPTIONS))
    return random.choice((":", ": ", " : ")).join(fields)


def _list(random: Random, word: Callable[[], str]) -> str:
    words = [word() for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.25:
        words += [random.choice(("EXCEPT", "except")), *(word() for _ in range(random.randint(0, 2)))]
    if random.random() < 0.1:
        words += ["EXCEPT", word()]
    return random.choice((" ", ", ", ",")).join(words)


def _client(random: Random) -> str:
    host = random.choice(HOSTS) if random.random() < 0.7 else _net(random)
    return f"{random.choice(USERS)}@{host}" if random.random() < 0.1 else host


def _net(random: Random) -> str:
    address = random.choice(ADDRESSES)
    if ":" in address:
        return f"[{address}]/{random.randint(0, 128)}"
    length = random.randint(0, 32)
    bits = (1 << 32) - (1 << (32 - length))
    base = bytes(map(int, address.split(".")))
    if random.random() < 0.9:
        base = (int.from_bytes(base) & bits).to_bytes(4)
    mask = str(length) if random.random() < 0.6 else _dotted(bits.to_bytes(4))
    return f"{_dotted(base)}/{mask}"


def _dotted(packed: bytes) -> str:
    return ".".join(map(str, packed))


@dataclass(frozen=True)
class Query:
    """A question to an oracle: may a client of this address and name connect?"""

    case: Case
    address: str
    name: str = "unknown"

    def __str__(self) -> str:
        return f"{self.name} [{self.address}]\n{self.case.text()}"


def ask_tcpdmatch(queries: Sequence[Query], daemon: str = "movescu") -> list[bool]:
    """Ask ``tcpdmatch`` for clients without a name, or ``unknown`` or ``paranoid`` without an address."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda query: _tcpdmatch(query, daemon), queries))


def _tcpdmatch(query: Query, daemon: str) -> bool:
    client = query.name if query.address == "unknown" else query.address
    output = subprocess.run(
        [str(TCPDMATCH), "-d", daemon, client], cwd=query.case.directory, capture_output=True, check=True, timeout=20
    ).stdout
    (verdict,) = re.findall(rb"^access:\s+(\w+)", output, re.MULTILINE)
    return bool(verdict == b"granted")  # a twist is "delegated": the client does not reach the daemon


def ask_libwrap(queries: Sequence[Query]) -> list[bool]:
    """Ask the library for clients of any address and name; it is told (``dry_run``) to run nothing."""
    rows = [[str(query.case.allow), str(query.case.deny), query.name, query.address] for query in queries]
    script = [sys.executable, __file__]
    output = subprocess.run(
        script, input=json.dumps(rows), capture_output=True, check=True, timeout=60, text=True
    ).stdout
    answers: list[bool] = json.loads(output)
    return answers


_DAEMON, _CLIENT_NAME, _CLIENT_ADDRESS = 2, 4, 5  # keys of request_init(3)


def _serve_libwrap() -> None:
    library = ctypes.CDLL(LIBWRAP)
    allow, deny = (ctypes.c_char_p.in_dll(library, name) for name in ("hosts_allow_table", "hosts_deny_table"))
    dry_run = ctypes.c_int.in_dll(library, "dry_run")
    answers = []
    for allow_path, deny_path, name, address in json.load(sys.stdin):
        allow.value, deny.value = allow_path.encode(), deny_path.encode()
        dry_run.value = 1
        request = ctypes.create_string_buffer(1 << 14)  # more than its struct request_info takes
        library.request_init(
            request, _DAEMON, b"movescu", _CLIENT_NAME, name.encode(), _CLIENT_ADDRESS, address.encode(), 0
        )
        answers.append(bool(library.hosts_access(request)) and dry_run.value == 1)  # a twist clears it
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    _serve_libwrap()
