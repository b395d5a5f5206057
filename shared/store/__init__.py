"""The job book in Redis: its keys, its scripts, its calls as data, and who runs them."""
