"""Host access control: hosts.allow and hosts.deny, as libwrap reads them."""
