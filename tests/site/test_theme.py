"""Colours that can be told apart: contrast of text and marks against what they stand on, light and dark (WCAG 2.2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).resolve().parents[2] / "reports/theme/hindcast.css").read_text(encoding="utf-8")
TEXT = [
    *(("ink", "paper"), ("ink-2", "paper"), ("ink-3", "paper"), ("ink-3", "wash"), ("accent", "paper")),
    *(("warn", "warn-wash"), ("bad", "bad-wash"), ("good", "good-wash"), ("warn", "wash")),
    *(("sev-1", "paper"), ("sev-2", "paper"), ("sev-3", "paper"), ("sev-4", "paper")),
]
MARKS = [(f"series-{number}", "paper") for number in range(1, 13)]


def tokens(selector: str) -> dict[str, str]:
    block = STYLE[STYLE.index(selector) :]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block[: block.index("}")]))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root {", ':root[data-theme="dark"] {'])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (MARKS, 3.0)])
def test_contrast(selector, pairs, least):
    colours = tokens(selector)
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < least} == {}


def test_dark_by_choice_is_dark_by_preference():
    assert tokens(':root:not([data-theme="light"]) {') == tokens(':root[data-theme="dark"] {')


def test_nothing_is_fetched():
    assert "@import" not in STYLE
    assert "url(" not in STYLE
