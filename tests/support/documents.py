"""The pages of the documentation, as what tests want of them: blocks of code, command lines, names of options, links.

The comment above a block of commands says how it is run:

- ``<!-- run -->``, or ``<!-- run: 69 -->`` if it is to end with that exit code; ``<!-- run: needs dcm2niix -->`` if
  that program is installed. Python, and the start files of shells, are run without a mark.
- ``<!-- background -->``: it goes on until the end of the page; the next block is run when it has put out a line.
- ``<!-- elsewhere: tests/interop/test_tls.py -->``: that test does what the block says, or the words say why none can.

A ``text`` block below ``<!-- output -->`` has pieces of what the block before it puts out, one a line. Blocks of a page
are run one after the other in one folder, and see an archive where the page has ``localhost`` and port 4242.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
SELF_EVIDENT: Final = ("python", "bash", "zsh", "fish")
"""Languages of blocks that are run without a mark."""
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE: Final = re.compile(r"^(?:<!-- *(\w+)(?:: *([^>]*?))? *-->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")
_ANCHOR: Final = re.compile(r"\[[^\]]*\]\(([^)#\s]*)#([^)\s]+)\)")
_OF_OTHERS: Final = {"-nodes", "-aes256", "--demo", "-m"}  # options of openssl, movescu.testing and Python
_OPTION: Final = re.compile(r"[-+][A-Za-z-][\w=-]*")


class Block(NamedTuple):
    """A block of code; ``mark`` and ``note`` are what stands in the comment above it, before and after the colon."""

    mark: str
    note: str
    language: str
    text: str

    @property
    def code(self) -> int:
        """The exit code that it is to end with."""
        return int(self.note) if self.note.isdecimal() else 0

    @property
    def needs(self) -> str:
        """The program that it needs, empty if none but ours."""
        return self.note.removeprefix("needs ") if self.note.startswith("needs ") else ""

    @property
    def is_run(self) -> bool:
        """Whether it is run."""
        return self.mark in ("run", "background") or self.language in SELF_EVIDENT


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for block in _FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(*block)


def only(page: Path, language: str) -> str:
    """The text of the one block of a page in a language."""
    [text] = [block.text for block in blocks(page) if block.language == language]
    return text


def runnable(page: Path) -> list[tuple[Block, list[str]]]:
    """The blocks of a page that are to be run, each with the pieces of its output."""
    result: list[tuple[Block, list[str]]] = []
    for block in blocks(page):
        if block.is_run:
            result.append((block, []))
        elif block.mark == "output":
            result[-1][1].extend(block.text.splitlines())
    return result


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``movescu`` in a block, without what the shell is told after them."""
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ").removeprefix("if ")
            if command.startswith("movescu "):
                yield _arguments(command)


def _arguments(command: str) -> list[str]:
    command = re.sub(r" [0-9](?=[<>])", " ", command)  # a redirection
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    arguments: list[str] = []
    for word in words:
        if set(word) <= set("();<>|&"):
            break
        arguments.append(word)
    return arguments[1:]


def options_named(page: Path) -> set[str]:
    """The options in the running text: words between back quotes that begin with a sign, or follow ``movescu``."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    spans = (span for span in _CODE.findall(text) if span.startswith(("-", "+", "movescu ")))
    return {word for span in spans for word in span.split() if _OPTION.fullmatch(word)} - _OF_OTHERS


def anchors(page: Path) -> set[tuple[str, str]]:
    """The links to headings: page (empty for this one) and heading."""
    return {
        (target, heading) for target, heading in _ANCHOR.findall(page.read_text(encoding="utf-8")) if ":" not in target
    }


def headings(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    return {re.sub(r"[-\s]+", "-", title) for title in titles}


def links(page: Path) -> set[str]:
    """The targets of links that are not addresses."""
    return {target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target}
