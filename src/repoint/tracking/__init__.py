"""What recipients reach over HTTP: pixels, links, unsubscribing, preferences. Each address is signed by us."""
