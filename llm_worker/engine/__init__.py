"""The asyncio pool's engine: claim, lease, renew, run, drain."""
