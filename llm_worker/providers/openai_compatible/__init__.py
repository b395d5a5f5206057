"""Providers that speak OpenAI's protocol. The only room that knows the SDK."""
