"""A submission on its way in: one typed endpoint a task."""
