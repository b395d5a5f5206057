"""The forking pool."""
