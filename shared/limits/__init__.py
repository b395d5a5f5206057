"""What limits providers and their models, and what a job's first request needs of them. Pure, but for the settings."""
