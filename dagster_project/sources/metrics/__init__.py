"""Metric points of other makers."""
