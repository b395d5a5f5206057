"""What a job is and what follows from an attempt. Pure."""
