"""Plan → one SELECT over the staged tables. Every module makes one part of it; `query` puts them together."""
