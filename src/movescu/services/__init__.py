"""DICOM services over DIMSE (PS3.4): the SCUs of C-MOVE, C-FIND and C-ECHO, and the SCP of C-STORE and C-ECHO."""
