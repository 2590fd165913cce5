"""A small DICOM archive for tests and demonstrations: C-ECHO, C-FIND, C-MOVE, C-GET, and C-STORE to load it.

The archive serves the DICOM files of a folder, on this machine, until the ``with`` block ends::

    import subprocess

    from movescu.testing import Archive, Ending, Faults

    with Archive("dicom-files", destinations={"MYSELF": ("127.0.0.1", 11112)}) as archive:
        keys = ["-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=PATIENT0000000"]
        own = ["--aetitle", "MYSELF", "--port", "11112"]
        retrieve = ["movescu", *own, *keys, archive.host, str(archive.port)]
        subprocess.run(retrieve, check=True)

``python -m movescu.testing FOLDER --port 4242 --destination MYSELF=127.0.0.1:11112`` does the same from a shell.

To test how a client copes with a faulty archive, add faults. Inside the block above::

        archive.faults = Faults(main_ends_by=Ending.ABORT, main_ends_after=3)
        assert subprocess.run(retrieve, check=False).returncode == 62

``Faults`` lists all of them. Do not use the archive for patients' data: it has no access control.
"""

from movescu.testing.archive import Archive
from movescu.testing.faults import Ending, Faults
from movescu.testing.slots import Refusal

__all__ = ["Archive", "Ending", "Faults", "Refusal"]
