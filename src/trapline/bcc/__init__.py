"""TODO: duty in one line."""
