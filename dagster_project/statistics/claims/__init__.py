"""Numeric claims of documents, recomputed: decks, checks, verdicts. Functions over numbers; no page is made here."""
