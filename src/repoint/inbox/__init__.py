"""The inbox: where messages go that have no relay or provider, and a page that shows them. Nothing leaves from here."""
