"""Data sets: parser, encoder, transcoder, values, character sets, file meta information (PS3.5, PS3.10)."""
