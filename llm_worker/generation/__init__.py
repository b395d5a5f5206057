"""What a handler may use: requests to models, structured answers, prompts, deltas, progress."""
