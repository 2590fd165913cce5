"""Host access control by hosts.allow and hosts.deny, compatible with libwrap."""
