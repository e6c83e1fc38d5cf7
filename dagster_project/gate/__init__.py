"""Rules over OTLP files without a warehouse: what a release pipeline asks. No replay of history, no dbt."""
