"""What a worker holds: claimed, renewed, ended in time, given back."""
