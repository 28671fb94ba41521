"""The only place that builds things and joins them: settings in, running processes out."""

from repoint.main.installation import Installation
from repoint.main.serving import serve, work
from repoint.main.workers import build_storage, run_jobs

__all__ = ["Installation", "build_storage", "run_jobs", "serve", "work"]
