"""Segments: which endpoints a campaign, a journey or an export is for."""
