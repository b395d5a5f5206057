"""Which provider answers, and how each is asked."""
