"""The event streams: each application's events, forwarded to where it wants them."""
