"""Whether a regular expression is one of RE2, the library that DuckDB matches with: linear time, whatever the text.

Asked of RE2 itself, so that no pattern passes here and fails in the night.
"""

from __future__ import annotations

from functools import lru_cache

import re2


@lru_cache(maxsize=4096)
def complaint(pattern: str) -> str | None:
    """Why RE2 refuses the pattern, or None."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else "it cannot be compiled"
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None
