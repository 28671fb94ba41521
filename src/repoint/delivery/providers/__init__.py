"""Who carries messages: one file or package each, strangers to each other."""
