"""The local set-up: every part on one machine, with nothing set up."""
