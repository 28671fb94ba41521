"""Endpoints: one address of one user on one channel, and all that is known of it."""
