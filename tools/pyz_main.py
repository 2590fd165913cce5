"""The start of movescu.pyz: unpacks the packages beside other caches, once for each version, and runs the command.

Not from within the archive: pydicom needs its data as files, and Python keeps no bytecode of an archive.
``python3 movescu.pyz -m MODULE ...`` runs a module of the packages, as ``movescu.testing``, instead of the command.
"""

import os
import shutil
import sys
import tempfile
import zipfile

DIGEST = "@DIGEST@"
PACKAGES = "packages/"


def cache() -> str:
    """Return the user's folder of caches."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA", home)
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")


def unpack(target: str) -> None:
    """Unpack the packages into a folder that has its name when it is complete."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    folder = tempfile.mkdtemp(dir=os.path.dirname(target))
    try:
        with zipfile.ZipFile(sys.argv[0]) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(PACKAGES)])
        os.rename(os.path.join(folder, PACKAGES), target)
    except OSError:
        if not os.path.isdir(target):  # else another process was faster
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the command, or a module."""
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one may be all that a machine has
        sys.exit(f"movescu needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
    target = os.path.join(cache(), "movescu", DIGEST)
    try:
        if not os.path.isdir(target):
            unpack(target)
    except OSError as error:
        sys.exit(f"cannot unpack into {os.path.dirname(target)}: {error.strerror}; name another with XDG_CACHE_HOME")
    sys.path[0] = target  # in place of the archive
    if sys.argv[1:2] == ["-m"] and sys.argv[2:]:
        import runpy

        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = target if not others else f"{target}{os.pathsep}{others}"  # for its own processes
        sys.argv[:] = sys.argv[2:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return
    from movescu.cli.main import run

    run()


main()
