"""Repoint: a self-hosted server for the clients of Amazon Pinpoint."""

import warnings

__version__ = "0.1.0"

# The embedded PostgreSQL's wheel asks for a runtime folder that it then does not use, as its sockets are ours.
warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
