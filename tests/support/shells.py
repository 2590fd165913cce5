"""Real shells on a terminal of their own: what does TAB make of a command line?

A shell is started once and kept. A line is typed, TAB pressed, and then a key that makes the shell print its line
between marks and begin another: what came before the marks is what TAB showed, what is between them is what became of
the line. So nobody has to guess how long a shell takes.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 20.0  # seconds; a shell that takes longer hangs

_MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>]|[\x07\r]")
_SHOW, _TAB = "\x18d", "\t"

_START = {
    "bash": (
        ["bash", "--noprofile", "--norc", "-i"],
        r"""bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; bind 'set completion-query-items 0'
bind 'set enable-bracketed-paste off'; bind 'set bell-style none'
bind -x '"\C-xd": printf "<%s%s>>" "<" "$READLINE_LINE"; READLINE_LINE='
eval "$(movescu --completion bash)"
""",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        r"""unsetopt beep prompt_sp zle_bracketed_paste; unset zle_bracketed_paste; LISTMAX=1000
autoload -Uz compinit; compinit -u -D
show() { print -rn -- "<""<$BUFFER>"">"; BUFFER= }; zle -N show; bindkey '^Xd' show
eval "$(movescu --completion zsh)"
""",
    ),
}


class Pressed(NamedTuple):
    """What TAB showed, in words, and the line as it is afterwards."""

    shown: list[str]
    line: str


def environment(home: Path) -> dict[str, str]:
    """An environment in which ``movescu`` is ours; what a shell knows of the user and of hosts it finds in ``home``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    hosts = str(home / "hosts")
    return {"PATH": path, "TERM": "xterm", "LC_ALL": "C.UTF-8", "HOME": str(home), "HOSTFILE": hosts}


class Shell:
    """A shell with our completion loaded, in a folder; a context manager."""

    def __init__(self, name: str, folder: Path) -> None:
        self._command, self._setup = _START[name]
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._terminal = -1

    def __enter__(self) -> Self:
        self._terminal, far = pty.openpty()
        self._stack.callback(os.close, self._terminal)
        termios.tcsetwinsize(far, (300, 300))
        process = subprocess.Popen(
            self._command,
            stdin=far,
            stdout=far,
            stderr=far,
            cwd=self._folder,
            env=environment(self._folder),
            start_new_session=True,
        )
        os.close(far)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self._type(self._setup)
        self._type(f"printf '<%sready>>' '<'{chr(10)}")
        self._until_marked("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def press_tab(self, line: str) -> Pressed:
        """Type a line, and TAB."""
        self._type(line + _TAB + _SHOW)
        shown, result = self._until_marked()
        return Pressed(_CONTROL.sub(" ", shown).split(), result)

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _until_marked(self, wanted: str = "") -> tuple[str, str]:
        """Read up to the next marks; gives what is before them and between them."""
        text, end = "", time.monotonic() + PATIENCE
        while not (match := _MARKED.search(text)) or wanted not in match[1]:
            ready, _, _ = select.select([self._terminal], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{shlex.join(self._command)} is silent after {text!r}"
            text += os.read(self._terminal, 65536).decode(errors="replace")
        return text[: match.start()], match[1]
