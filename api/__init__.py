"""The gateway: one typed REST endpoint a task."""
