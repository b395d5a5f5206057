"""How a process starts, logs, reaches Redis, reports and ends with its parent."""
