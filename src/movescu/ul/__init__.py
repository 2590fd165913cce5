"""The DICOM Upper Layer (PS3.8) without I/O: PDUs, negotiation, the state table and the association that follows it."""
