"""The dbt project made ready and run: generated models, manifest, dbt under the writer's lock, days to replay."""
