"""Deploys, commits, feature flags, configuration."""
