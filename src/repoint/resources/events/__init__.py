"""Events: the log of everything that happens."""
