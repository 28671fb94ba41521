"""Delivery: one message from intent to outcome, as a list of named steps. Providers carry it, one file each."""
