"""A simulated world behind the seams of the program: time, threads, network and disk, determined by a seed."""
