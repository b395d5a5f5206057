"""A suspect's own process."""
