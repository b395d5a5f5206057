"""Background jobs for LLM applications: one gateway, two worker pools, one Redis."""
