"""Other systems -> files below `data/landing/`, then landed like any file. Decodes nothing, writes no table."""
