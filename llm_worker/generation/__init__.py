"""What a handler may use: questions, structured answers, prompts, deltas, progress."""
