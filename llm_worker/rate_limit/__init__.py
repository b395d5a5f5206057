"""Rate limits of providers, kept by all worker processes together."""
