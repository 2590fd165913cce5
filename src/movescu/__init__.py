"""A C-MOVE client and storage SCP: retrieves objects from DICOM archives (PS3.4 annexes B and C)."""
