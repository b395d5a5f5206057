"""Limits and claims with the clock in the test's hand."""
