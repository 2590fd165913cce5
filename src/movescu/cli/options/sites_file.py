"""Changes to ``sites.toml``: one site is added, or its settings are replaced, and nothing else is touched.

The text is edited line by line, so that comments, other sites and other settings of the same site stay as they are. The
new text is read back before it replaces the file in one step: if it means anything else than was intended, as with a
site that is written in one line, the file is left alone. Imported with ``--setup`` alone.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import TYPE_CHECKING, Final

from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, str | int]

SITE_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER: Final = re.compile(r"""\s*\[\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*\]\s*(?:#.*)?$""")
_SETTING: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def settings_text(settings: Settings) -> str:
    """Return settings as lines of TOML."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items())


def read_text(path: str) -> str:
    """Return the text of the file, empty if there is none. Raise ``UsageError`` if it is not TOML."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        tomllib.loads(text)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: {getattr(error, 'strerror', None) or error}", hint="correct the file; it was not changed"
        ) from error
    return text


def changed(text: str, name: str, settings: Settings, replaced: frozenset[str]) -> str:
    """Return the text with a site's settings; ``replaced``: the keys whose old values go.

    Raise ``UsageError`` if the text cannot be changed without changing anything else.
    """
    before = tomllib.loads(text)
    old = before.get(name, {})
    kept = {key: value for key, value in old.items() if key not in replaced} if isinstance(old, dict) else {}
    result = _edited(text, name, settings, replaced)
    try:
        after = tomllib.loads(result)
    except ValueError:
        after = {}
    if after != before | {name: kept | dict(settings)}:
        raise UsageError(
            f"the file of sites cannot be changed without risk for its other contents: site {name!r}",
            hint=f"change it yourself; the settings are:\n[{name}]\n{settings_text(settings)}",
        )
    return result


def _edited(text: str, name: str, settings: Settings, replaced: frozenset[str]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    own = settings_text(settings).replace("\n", end)
    lines = text.splitlines(keepends=True)
    begin = next((n for n, line in enumerate(lines) if _named(line) == name), None)
    if begin is None:
        gap = "" if not text else end if text.endswith(("\n", "\r")) else 2 * end
        return f"{text}{gap}[{name}]{end}{own}"
    stop = next((n for n in range(begin + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    header = lines[begin] if lines[begin].endswith("\n") else lines[begin] + end
    kept = [line for line in lines[begin + 1 : stop] if _key(line) not in replaced]
    return "".join((*lines[:begin], header, own, *kept, *lines[stop:]))


def _named(line: str) -> str | None:
    match = _HEADER.match(line.rstrip("\r\n"))
    return None if match is None else next(part for part in match.groups() if part is not None)


def _key(line: str) -> str:
    match = _SETTING.match(line)
    return "" if match is None else match[1]


def write(path: str, text: str) -> None:
    """Replace the file in one step; a link stays one. Raise ``UsageError`` if that fails."""
    path = os.path.realpath(path)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline=""
        ) as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise UsageError(f"cannot write {path!r}: {error.strerror}") from error
