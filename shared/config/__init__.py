"""Settings, the configuration file and API keys."""
