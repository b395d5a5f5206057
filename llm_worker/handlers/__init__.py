"""One file a task: how the asyncio pool does it."""
