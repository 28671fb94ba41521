"""The only place that builds things and joins them: settings in, running processes out."""

from repoint.main.installation import Installation

__all__ = ["Installation"]
