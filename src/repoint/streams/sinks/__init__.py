"""Where event streams write, a file for each kind of far end."""
