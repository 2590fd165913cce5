"""The C-MOVE client: one retrieve, from its configuration to its result (PS3.4 C.4.2)."""
