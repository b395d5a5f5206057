"""Who calls, and what the role allows."""
