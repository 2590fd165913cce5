"""Text of ``--version``, the banner above other texts, errors of the command line. Imports nothing slow."""

from __future__ import annotations

import sys

from movescu._runtime import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.errors import MovescuError

PURPOSE = "movescu: retrieve objects from a DICOM archive (C-MOVE, C-GET)"


def banner() -> str:
    """Return the lines above the help and above errors of the command line: version and purpose."""
    return f"movescu {version.VERSION}\n\n{PURPOSE}\n"


def location() -> str:
    """Return the path of this package: several programs are named movescu."""
    return __file__.replace("\\", "/").removesuffix("/cli/docs/banner.py")


def version_text() -> str:
    """Return the version and what else a bug report needs, with a line end."""
    import zlib  # late: needed for this text alone

    python = ".".join(str(part) for part in sys.version_info[:3])
    lines = (
        f"installed in {location()}",
        f"Python {python} on {sys.platform}, {sys.executable}",
        f"implementation class UID {version.CLASS_UID}",
        f"ZLIB, version {zlib.ZLIB_RUNTIME_VERSION} (deflated transfer syntax)",
        "TCP wrapper: built in, as LIBWRAP (--access-control, hosts.allow, hosts.deny)",
    )
    return f"{banner()}\n" + "".join(f"{line}\n" for line in lines)


def error_text(error: MovescuError) -> str:
    """Return an error of the command line below the banner, with a line end."""
    hint = error.hint
    if hint and "(" not in hint and "\n" not in hint:  # no brackets within brackets
        hint = f"({hint})"
    return "\n".join((f"{banner()}error: {error}", *([hint] if hint else ()), ""))


def error_line(error: MovescuError, *, colour: bool) -> str:
    """Return an error of the command line without the banner, its hint in the same line, with a line end."""
    from movescu.cli.logging.console_log import escape  # late: needed after an error alone
    from movescu.cli.output.colours import BOLD, PLAIN, RED

    label = f"{BOLD}{RED}error:{PLAIN}" if colour else "error:"
    hint = error.hint
    first = hint.partition(" ")[0]
    if first.isalpha() and first.islower():
        hint = hint[0].upper() + hint[1:]
    end = "" if not hint else ". " if str(error)[-1:].isalnum() or str(error)[-1:] in "'\")" else " "
    return f"{label} {escape(str(error))}{end}{escape(hint)}\n"
