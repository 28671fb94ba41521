"""Message templates: five kinds, each with versions of which one is active."""
