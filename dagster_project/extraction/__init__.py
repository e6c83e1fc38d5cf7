"""Other systems -> files below `data/landing/`, which are then landed like any file. Decodes nothing, writes no table."""
