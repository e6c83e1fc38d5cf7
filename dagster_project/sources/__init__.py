"""From bytes to rows: one module a format, the registry of formats, recognising files, the declaration of sources.

Nothing here writes to the warehouse or decides what runs when.
"""
