"""Implementation Class UID, Implementation Version Name (PS3.7 D.3.3.2) and program version. Imports nothing."""

CLASS_UID = "2.25.199373452183617926018834126716281739203"
VERSION_NAME = "MOVESCU_1.0.0"
VERSION = VERSION_NAME.partition("_")[2]
