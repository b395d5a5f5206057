"""The built-in tasks' declarations, one module a family."""
