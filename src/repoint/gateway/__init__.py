"""The gateway: HTTP in, a checked call on an operation, HTTP out. Nothing behind it knows HTTP."""
