"""Replays rules over recorded telemetry: one rule ad hoc, its answer in several formats, and the rules' own tests."""
