"""A network's memory and its compiled loops."""
