"""Campaigns: messages to a segment, on a schedule."""
