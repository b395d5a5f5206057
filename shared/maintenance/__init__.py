"""The clock and its duties: what is due, lost, expired or dead, and the schedules."""
