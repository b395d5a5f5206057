"""Tests, by room; they run the real thing."""
