"""Which objects are whole in an output directory."""
