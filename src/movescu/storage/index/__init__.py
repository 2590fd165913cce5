"""The index of an output directory: which objects it has, whole."""
