"""The wire: AWS's service model, as routes, shapes and errors. Knows nothing of HTTP servers or storage."""
