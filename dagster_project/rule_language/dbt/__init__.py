"""A catalogue → dbt models, and what of a warehouse they judge again."""
