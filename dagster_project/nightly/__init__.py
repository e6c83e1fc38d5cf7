"""One night from beginning to end without a daemon, and what the morning is told of it."""
