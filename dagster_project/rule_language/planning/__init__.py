"""Model → plan: where to start, and how many items that is."""
