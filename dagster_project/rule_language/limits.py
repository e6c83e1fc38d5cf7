"""The limits of a rule file, a rule and a catalogue, in one place.

Numbers and their reasons only; the modules that read files, parse and resolve enforce them.
"""

from __future__ import annotations

from typing import Final

MAX_FILE_BYTES: Final = 64 * 1024
"""A rule is a page of text; what is larger was generated or is an attack."""

MAX_DEPTH: Final = 50
"""Nesting of YAML and of expressions; keeps every recursive pass far from Python's own limit."""

MAX_RULES: Final = 1_000
"""Rules of one catalogue: what the plan groups were measured with."""

MAX_BINDINGS: Final = 64
"""`let` names of one rule; each is inlined where it is used."""

MAX_PATTERN_CHARACTERS: Final = 1_000
"""Of a regular expression; RE2 is linear in the text, not in the size of the pattern."""

MAX_DURATION_NS: Final = 2**63 - 1
"""Durations and gaps are 64-bit nanoseconds, as in the span table."""

MAX_WITNESS_SPANS: Final = 100
"""Spans that one count puts into a witness; a violation of `count(x) <= 5000` needs no 5,001 examples."""
