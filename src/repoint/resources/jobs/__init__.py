"""Import and export jobs: endpoints from files, and into files."""
