"""Text of ``--version``, and the banner above other texts. Imports nothing slow."""

import sys

from movescu._runtime import version

PURPOSE = "movescu: retrieve objects from a DICOM archive (C-MOVE)"


def banner() -> str:
    """Return the lines above the help and above errors of the command line: version and purpose."""
    return f"movescu {version.VERSION}\n\n{PURPOSE}\n"


def version_text() -> str:
    """Return the version and what else a bug report needs, with a line end."""
    import zlib  # late: needed for this text alone

    python = ".".join(str(part) for part in sys.version_info[:3])
    lines = (
        f"Python {python} on {sys.platform}",
        f"implementation class UID {version.CLASS_UID}",
        f"ZLIB, version {zlib.ZLIB_RUNTIME_VERSION} (deflated transfer syntax)",
        "TCP wrapper: built in, as LIBWRAP (--access-control, hosts.allow, hosts.deny)",
    )
    return f"{banner()}\n" + "".join(f"{line}\n" for line in lines)
