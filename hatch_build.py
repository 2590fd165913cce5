"""Puts the completions of bash, zsh and fish into the wheel, made from the option table as ``--completion`` makes them.

Where a shell looks for them by the command's name, both names of the command have a file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}
OTHER_NAME = {
    "bash": 'source "${BASH_SOURCE[0]%-py}"\n',
    "fish": "source (status dirname)/movescu.fish\n",
}
"""Shell -> content of the file for movescu-py; zsh needs none."""


class CompletionHook(BuildHookInterface):  # type: ignore[misc] # hatchling has no types here
    """The build hook of pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files, and name their places in the wheel; an editable installation has none."""
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "src"))
        try:
            from movescu.cli.docs.completion import completion_text
        finally:
            del sys.path[0]
        self._folder = tempfile.TemporaryDirectory()
        for shell, place in PLACES.items():
            texts = {"movescu": completion_text(shell)}
            if shell in OTHER_NAME:
                texts["movescu-py"] = OTHER_NAME[shell]
            for name, text in texts.items():
                file = Path(self._folder.name) / f"{shell}-{name}"
                file.write_text(text, encoding="utf-8")
                file.chmod(0o644)
                build_data["shared_data"][str(file)] = place.format(name)

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove the files."""
        if version != "editable":
            self._folder.cleanup()
