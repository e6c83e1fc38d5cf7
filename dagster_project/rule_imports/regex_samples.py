"""A text that a simple pattern matches, for test traces; None for patterns that are not simple."""

from __future__ import annotations

import re


def sample(pattern: str) -> str | None:
    """A text for patterns of words, `.*`, digits and alternatives; the engine says whether it fits."""
    text = re.sub(r"^(\(\?[a-z]+\))?\^?", "", pattern.split("|", 1)[0])
    text = re.sub(r"\$$", "", text)
    for part, instead in ((r"\.\*|\.\+", "x"), (r"\\d[+*]?|\[0-9\][+*]?", "1"), (r"\\w[+*]?|\[a-z\][+*]?", "a")):
        text = re.sub(part, instead, text)
    text = re.sub(r"\(\?:|[()]", "", text)
    text = re.sub(r"\\([^\w\s])", r"\1", text)
    return text if not re.search(r"[\\\[\]{}*+?]", text) else None
