"""Sockets and what drives an association over them (PS3.8 section 9.1); TCP is known here and nowhere else."""
