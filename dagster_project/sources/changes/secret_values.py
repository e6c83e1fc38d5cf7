"""Which values of flags and configuration are never stored: those that look like secrets, by their key or themselves.

A marker takes their place. Errs on the side of not storing: `keyboard_layout` looks like the key of a secret, too.
"""

from __future__ import annotations

import re

MARKER = "(not stored: looks like a secret)"
DEPTH_LIMIT = 50

_KEY = re.compile(
    r"passw|passphrase|pwd|token|secret|key|credential|authorization|cookie|private|certificate|dsn|connection_?string",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"://[^\s/@:]{0,200}:[^\s/@]{1,200}@"  # an address with a password in it
    r"|-----BEGIN "
    r"|\beyJ[\w-]{10}"  # a JSON web token, or another object in base64; to look for its dots takes quadratic time
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # an access key of AWS
    r"|\b(?:ghp|gho|ghs|github_pat|glpat|xox[abpr])[_-]\w{10,}"
    r"|\b[Bb]earer\s+\S{8,}"
)


def is_secret_key(key: str) -> bool:
    """Whether a value under this key is not to be stored."""
    return _KEY.search(key) is not None


def without_secrets(value: object, key: str = "", depth: int = 0) -> object:
    """The value as it may be stored: markers for secrets, at any depth of objects and lists; null stays null."""
    if value is None:
        return None
    if is_secret_key(key) or depth > DEPTH_LIMIT or (isinstance(value, str) and _VALUE.search(value)):
        return MARKER
    if isinstance(value, dict):
        return {name: without_secrets(each, str(name), depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [without_secrets(each, "", depth + 1) for each in value]
    return value
