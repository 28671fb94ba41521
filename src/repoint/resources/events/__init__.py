"""Events: the log of everything that happens, what writes it, and what reads it by position."""
