"""Metrics: what the events come to, by the hour, and the three operations that answer from it."""
