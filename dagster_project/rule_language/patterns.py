"""Whether a regular expression is one of RE2, as far as its syntax tells without an engine.

RE2 matches in linear time because it leaves out look-around and back references; writers of patterns miss them most.
What only the engine can refuse (a pattern whose program grows too large) is found when a rule's tests run.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Final

_NOT_IN_RE2: Final = (
    (r"\(\?<?[=!]", "look-around"),
    (r"\\[1-9]", "a back reference"),
    (r"\(\?P=", "a back reference"),
    (r"\(\?>", "an atomic group"),
    (r"\(\?\(", "a conditional"),
    (r"\(\?#", "a comment"),
    (r"[*+?}]\+", "a possessive repetition"),
    (r"\\[ZGKXRhHgk]", "an escape that RE2 does not have"),
)
# What RE2 has and Python spells otherwise, with something that parses alike.
_ONLY_IN_RE2: Final = (
    (r"\\[pP](\{\^?\w+\}|[A-Z])", "x"),
    (r"\\[zC]", "x"),
    (r"\[:\^?[a-z]+:\]", "x"),
    (r"\(\?[imsU]*(-[imsU]+)?\)", ""),
    (r"\(\?[imsU]*(-[imsU]+)?:", "(?:"),
    (r"\(\?<(?=[A-Za-z_])", "(?P<"),
)
_LARGEST_REPETITION: Final = 1000


@lru_cache(maxsize=4096)
def complaint(pattern: str) -> str | None:
    """Why RE2 would refuse the pattern, or None."""
    # Escaped backslashes and quoted classes must not look like the start of a construct.
    plain = pattern.replace("\\\\", "xx")
    outside = re.sub(r"\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]", lambda found: "c" * len(found.group()), plain)
    for construct, name in _NOT_IN_RE2:
        found = re.search(construct, outside)
        if found:
            return f"`{found.group()}` is {name}"
    if any(int(number) > _LARGEST_REPETITION for number in re.findall(r"\{(\d+)", outside)):
        return f"a repetition of more than {_LARGEST_REPETITION}"
    for construct, stand_in in _ONLY_IN_RE2:
        plain = re.sub(construct, stand_in, plain)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(plain)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None
