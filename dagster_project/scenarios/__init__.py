"""Generated telemetry with planted truth, for benchmarks, tests and demonstrations. Judges nothing."""
