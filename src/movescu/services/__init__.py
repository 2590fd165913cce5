"""DICOM services over DIMSE (PS3.4): the users of C-MOVE, C-FIND and C-ECHO, and the provider of C-STORE."""
