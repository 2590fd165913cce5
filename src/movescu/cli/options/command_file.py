"""Command files: ``@file`` on the command line is replaced by the words of the file, as with DCMTK's tools."""

from __future__ import annotations

import os

from movescu.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def expanded(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with the words of each ``@file`` in its place. Raises ``CommandLineError``."""
    words: list[str] = []
    for argument in arguments:
        words += _command_file(argument[1:]) if argument.startswith("@") and argument != "@" else [argument]
    return words


def _command_file(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandLineError(f"Cannot open command file '{path}'", hint=f"{reason}.") from error
    if b"\0" in content:
        raise CommandLineError(
            f"Cannot read command file '{path}'", hint="The file is not text in the terminal's encoding."
        )
    # Decoded as the system decodes arguments: undecodable bytes survive the round trip to a file name.
    return _split(os.fsdecode(content))


def _split(text: str) -> list[str]:
    """Split the text of a command file into words.

    A quotation mark of either kind quotes blanks, line ends and the other kind up to its twin, which also ends the
    word. There are no comments and no escapes. A mark without a twin quotes the rest of the file.
    """
    words: list[str] = []
    word = quote = ""
    for character in text:
        if character == quote or (not quote and character in " \t\r\n"):
            if word or quote:
                words.append(word)
            word = quote = ""
        elif not quote and character in "\"'":
            quote = character
        else:
            word += character
    return [*words, word] if word else words
