"""Telling receivers that a job has ended: signed, tried again, to public hosts only."""
