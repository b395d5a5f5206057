"""The limits of providers in the book, and why a job waits."""
