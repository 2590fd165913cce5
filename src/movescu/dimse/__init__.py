"""The DICOM message service element, DIMSE (PS3.7): messages, statuses, and their exchange over an association."""
