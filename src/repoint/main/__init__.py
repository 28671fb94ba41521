"""The only place that builds things and joins them: settings in, running processes out."""

from repoint.main.installation import CannotOpenError, Installation

__all__ = ["CannotOpenError", "Installation"]
