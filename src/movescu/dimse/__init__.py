"""The DICOM message service element, DIMSE (PS3.7): messages, statuses, and the exchange over an association."""

PRIORITY_MEDIUM = 0
"""Value of Priority (0000,0700), PS3.7 table 9.1-3; 1 is high, 2 low."""
