"""One file a task: how the forking pool does it."""
