"""The data dictionary and the UIDs of PS3.6, and the value representations of PS3.5 6.2."""
