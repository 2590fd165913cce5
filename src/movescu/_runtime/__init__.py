"""What has nothing of DICOM: records, late loading of the log and of patterns, bytes as text, the version."""
