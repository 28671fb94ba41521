"""Groups of commands, one module each; `cli` registers them, `options` has what they share."""
