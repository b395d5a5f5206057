"""Artefacts: the only owner of their layout."""
