"""The DuckDB warehouse: opening it, who may write, landing, the ledger, publishing. No rule, no statistic, no page."""
