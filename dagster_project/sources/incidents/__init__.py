"""Incidents, tickets and alerts."""
