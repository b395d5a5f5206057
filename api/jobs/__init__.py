"""Jobs that exist: reading, watching, changing, downloading."""
