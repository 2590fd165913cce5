"""What ``--version`` prints, and the lines that open other texts. Loads nothing."""

import sys

from movescu._runtime import version

PURPOSE = "movescu: retrieves objects from a DICOM archive (C-MOVE)"


def banner() -> str:
    """Give the lines that open the help and stand above errors of the command line: the version, the purpose."""
    return f"movescu {version.VERSION}\n\n{PURPOSE}\n"


def version_text() -> str:
    """Give the version, and what a report of an error needs beside it, with a line end."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"{banner()}\nPython {python} on {sys.platform}\nimplementation class UID {version.CLASS_UID}\n"
