"""Text → syntax: expressions, YAML, patterns. Nothing is resolved here."""
