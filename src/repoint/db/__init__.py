"""PostgreSQL: the embedded server, migrations, connections, and work shared between concurrent callers."""

from repoint.db.clock import DatabaseClock
from repoint.db.database import Connection, Database, DatabaseUnavailableError, allow_scans
from repoint.db.gather import Gatherer
from repoint.db.listen import listen

__all__ = ["Connection", "Database", "DatabaseClock", "DatabaseUnavailableError", "Gatherer", "allow_scans", "listen"]
