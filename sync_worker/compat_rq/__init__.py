"""Jobs of plain RQ."""
