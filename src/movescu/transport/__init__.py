"""The transport service (PS3.8 section 9.1): TCP, TLS, deadlines, and the connections that associations run over."""
