"""``--setup``: asks for an archive's address and for ours, tests each answer, and writes the site to ``sites.toml``.

The tests are the steps of ``--check``: host and port are tried as soon as both are known, then the AE titles, then the
way on which objects arrive. After a failure the answers can be given again, or kept: an archive may learn of us only
after its administrator has read the mail that is printed at the end. When objects cannot arrive, our AE title is asked
for again, too: that the archive does not know it comes to light only then. Questions go to standard output and answers
come from standard input, one a line, so that a program can answer, too. Nothing is written before the last answer.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Final

from movescu.cli import streams
from movescu.cli.commands.check import lines_of
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging.console_log import escape
from movescu.cli.options import address, sites_file
from movescu.cli.options.command_line import parse
from movescu.cli.options.configuration import config_of
from movescu.cli.options.sites import sites_file as path_of_sites
from movescu.cli.output.colours import BOLD, PLAIN, is_terminal, wants_colour
from movescu.errors import PeerError
from movescu.retrieve.connection_test import StepResult, check
from movescu.transport.sockets import connect, own_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import TextIO

    from movescu.retrieve.config import Config
    from movescu.retrieve.connection_test import Step

ASKED: Final = ("peer", "port", "call", "aetitle", "listen-port", "retrieve", "model", "ipv6")
"""Keys of a site that are asked for, or follow from the answers."""
_TO_THE_PORT: Final = ("name lookup", "connection")
_TO_THE_TITLES: Final = ("association", "C-ECHO", "C-MOVE context")
_LONGEST_TITLE: Final = 16  # characters of an AE title (PS3.5 6.2)


def run_setup(given: Mapping[str, str], answers: TextIO | None) -> int:
    """Ask, test and write; return the exit code. ``given``: answers on the command line. Raise ``UsageError``."""
    path = path_of_sites()
    text = sites_file.read_text(path)  # an unreadable file is an error before the first question
    dialogue = _Dialogue(dict(given), answers)
    try:
        name = dialogue.ask_name(text)
        dialogue.ask_archive()
        dialogue.ask_titles()
        dialogue.ask_way()
    except EOFError:
        streams.output("\nNo more answers: nothing was written.\n")
        return ExitCode.USAGE
    settings = dialogue.settings()
    replaced = frozenset((*ASKED, *settings))
    sites_file.write(path, sites_file.changed(sites_file.read_text(path), name, settings, replaced))
    streams.output(f"\nSite {name} is in {escape(path)}. Now, for example:\n    movescu --site {name} --query --all\n")
    streams.output(
        "    mkdir -p images\n"
        f"    movescu --site {name} -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=UID -od images\n"
        f"\nE-mail to the archive's administrator, unless everything is configured there:\n\n{dialogue.mail()}"
    )
    return ExitCode.SUCCESS


class _Dialogue:
    """Asks the questions and keeps the answers, by key of the site."""

    def __init__(self, given: dict[str, str], answers: TextIO | None) -> None:
        self._given = given
        self._answers = answers
        self._known: dict[str, str] = {}
        self._model = "study"

    # -- the questions -------------------------------------------------------------------------------------------------

    def ask_name(self, text: str) -> str:
        import tomllib  # slow to load

        existing = tomllib.loads(text)
        while True:
            name = self._ask("Name of the site, for --site", self._default("name", "archive"), _fault_of_name)
            if name not in existing or self._agrees(f"Site {name} already exists. Replace its address?"):
                return name

    def ask_archive(self) -> None:
        """Ask for host and port until the connection succeeds or the user keeps them."""
        while True:
            host = self._ask("Host name or address of the archive", self._default("peer"), _fault_of_host)
            whole = address.parsed(host)
            if whole is not None:  # TITLE@host:port
                self._known |= {"peer": whole.host, "port": str(whole.port)}
                if "@" in host:
                    self._given["call"] = whole.title
            else:
                self._known["peer"] = host
                self._known["port"] = self._ask("Port of the archive", self._default("port", "104"), _fault_of_port)
            if self._passes(_TO_THE_PORT):
                return

    def ask_titles(self) -> None:
        """Ask for the AE titles until the archive accepts an association or the user keeps them."""
        while True:
            self._known["call"] = self._ask(
                "AE title of the archive", self._default("call", "ANY-SCP"), _fault_of_title
            )
            self._ask_own_title()
            if self._passes(_TO_THE_TITLES):
                return

    def _ask_own_title(self) -> None:
        default = self._default("aetitle", _own_title())
        self._known["aetitle"] = self._ask("AE title of this computer", default, _fault_of_title)

    def ask_way(self) -> None:
        """Ask for our port, or for C-GET, until objects can arrive or the user keeps the answer."""
        way = "get" if self._given.get("retrieve") == "get" else self._default("listen-port", "11112")
        repeated: tuple[str, ...] = ()  # steps, after another title
        while True:
            way = self._ask("Port of this computer to receive on (get: retrieve with C-GET)", way, _fault_of_way)
            self._known.pop("listen-port", None)
            self._known.pop("retrieve", None)
            self._known |= {"retrieve": "get"} if way == "get" else {"listen-port": way}
            if self._passes((*repeated, *(("C-GET",) if way == "get" else ("own port", "move destination")))):
                return
            earlier = self._known["aetitle"]
            self._ask_own_title()
            repeated = () if self._known["aetitle"] == earlier else ("association",)

    def _default(self, key: str, otherwise: str = "") -> str:
        return self._known.get(key, self._given.get(key, otherwise))

    def _ask(self, question: str, default: str, fault_of: Callable[[str], str]) -> str:
        """Return the answer to a question. Raise ``EOFError`` if there is none."""
        shown = f"{BOLD}{question}{PLAIN}" if wants_colour(sys.stdout) else question
        while True:
            streams.output(f"{shown}{f' [{escape(default)}]' if default else ''}: ")
            line = self._answers.readline() if self._answers is not None else ""
            if not line:
                raise EOFError
            if not is_terminal(self._answers):
                streams.output(escape(line) if line.endswith("\n") else f"{escape(line)}\n")  # as a terminal shows it
            answer = line.strip() or default
            fault = fault_of(answer) if answer else "an answer is needed"
            if not fault:
                return answer
            streams.output(f"         {fault}\n")

    def _agrees(self, question: str) -> bool:
        return self._ask(f"{question} yes/no", "no", _fault_of_choice("yes", "no")) == "yes"

    # -- the tests -----------------------------------------------------------------------------------------------------

    def _passes(self, names: tuple[str, ...]) -> bool:
        """Run steps of ``--check`` and show them; return True if none failed or the user keeps the answers."""
        failed = False
        with contextlib.closing(self._check()) as steps:
            for step in steps:
                if step.name not in names:
                    continue
                streams.output(lines_of(step))
                failed = failed or step.result is StepResult.FAILED
                if step.name == names[-1]:
                    break
        if failed and names is _TO_THE_TITLES and self._model == "study":
            return self._passes_in_patient_root()
        return not failed or self._ask("Answer again, or keep the answers? again/keep", "again", _CHOICE) == "keep"

    def _passes_in_patient_root(self) -> bool:
        """Try the other model: few archives have Patient Root alone."""
        self._model = "patient"
        with contextlib.closing(self._check()) as steps:
            if any(step.name == "C-MOVE context" and step.result is StepResult.OK for step in steps):
                streams.output(f"{'ok':<8} the archive offers Patient Root: requests need a PatientID\n")
                return True
        self._model = "study"
        return self._ask("Answer again, or keep the answers? again/keep", "again", _CHOICE) == "keep"

    def _check(self) -> Generator[Step, None, None]:
        yield from check(self._config(), None)

    def _config(self) -> Config:
        known = {"call": "ANY-SCP", "aetitle": "MOVESCU"} | self._known
        words = [f"--{self._model}", f"--aetitle={known['aetitle']}", f"--call={known['call']}"]
        if "listen-port" in known:
            words.append(f"--port={known['listen-port']}")
        words.append("-i6" if ":" in known["peer"] else "-i4")
        if "retrieve" in known:
            words.append("--retrieve=get")
        return config_of(parse(["--check", *words, known["peer"], known["port"]]))

    # -- results ------------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, str | int]:
        """Return the settings of the site."""
        known = {key: self._known[key] for key in ASKED if key in self._known}
        numbers = ("port", "listen-port")
        made: dict[str, str | int] = {key: int(text) if key in numbers else text for key, text in known.items()}
        made["model"] = self._model
        if ":" in known["peer"]:
            made["ipv6"] = True
        return made

    def mail(self) -> str:
        """Return the mail to the administrator, with a line end."""
        known = self._known
        host, own = f"{known['peer']}, port {known['port']}", self._own_address()
        rights = "C-ECHO, C-FIND and " + ("C-GET" if "retrieve" in known else "C-MOVE")
        lines = [
            f"Subject: DICOM: please add AE title {known['aetitle']} to {known['call']}",
            "",
            "Please add this application entity to the archive's configuration:",
            f"    AE title:  {known['aetitle']}",
            f"    address:   {own} ({socket.gethostname()})",
        ]
        if "listen-port" in known:
            lines.append(f"    port:      {known['listen-port']}")
        lines += [
            "",
            f"and permit it to use {rights} (Study Root) of {known['call']} ({host}).",
        ]
        if "listen-port" in known:
            lines += [
                "It is also the move destination: the archive opens connections to it to send the objects (C-STORE).",
                f"Firewalls must allow {own} -> {host},",
                f"and the archive -> {own}, port {known['listen-port']}.",
            ]
        else:
            lines += [
                "It receives objects over its own connections: the archive never connects to it.",
                f"Firewalls must allow {own} -> {host}.",
            ]
        return "".join(f"{escape(line)}\n" for line in lines)

    def _own_address(self) -> str:
        """Return our address as the archive sees it, else according to the system's routes."""
        with contextlib.suppress(PeerError):
            transport = connect(self._known["peer"], int(self._known["port"]), 5.0)
            with contextlib.closing(transport):
                return transport.local_address
        return " or ".join(own_addresses()) or "the address of this computer"


def _own_title() -> str:
    """Return an AE title made from the name of this computer."""
    name = socket.gethostname().partition(".")[0].upper()
    return "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-_"))[:_LONGEST_TITLE] or "MOVESCU"


# -- validation of answers ---------------------------------------------------------------------------------------------


def _fault_of_name(text: str) -> str:
    if text == "defaults":
        return "defaults is the table with the settings of all sites"
    return "" if sites_file.SITE_NAME.fullmatch(text) else "letters, digits, - and _ only"


def _fault_of_host(text: str) -> str:
    if address.parsed(text) is not None:
        return ""
    if text.startswith(("http://", "https://")):
        return "a host name or address, not the URL of a web page"
    return "a host name has no blanks and no @" if "@" in text or " " in text else ""


def _fault_of_port(text: str) -> str:
    return "" if text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535 else "a number from 1 to 65535"


def _fault_of_title(text: str) -> str:
    if len(text) > _LONGEST_TITLE:
        return f"an AE title has at most {_LONGEST_TITLE} characters"
    return (
        "" if text.isascii() and text.isprintable() and "\\" not in text else "ASCII without control characters and \\"
    )


def _fault_of_way(text: str) -> str:
    return "" if text == "get" or not _fault_of_port(text) else "a number from 1 to 65535, or get"


def _fault_of_choice(*words: str) -> Callable[[str], str]:
    return lambda text: "" if text in words else f"answer {' or '.join(words)}"


_CHOICE: Final = _fault_of_choice("again", "keep")
