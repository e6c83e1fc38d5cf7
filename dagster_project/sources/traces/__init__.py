"""Spans of other makers."""
