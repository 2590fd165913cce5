"""The DICOM Upper Layer (PS3.8): PDUs, the state table, negotiation, and the association machine without I/O."""
