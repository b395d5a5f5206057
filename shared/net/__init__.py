"""Where a request to a URL from outside may go."""
