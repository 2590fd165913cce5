"""Code that is independent of DICOM: record classes, late loading of ``logging``, hex dumps, the version."""
