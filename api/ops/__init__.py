"""What an operator asks for: queues, health, metrics."""
