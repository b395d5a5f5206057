"""The asyncio pool (arq): jobs that wait for a language model."""
