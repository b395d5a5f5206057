"""The processes of jobs: one for each, forked ahead."""
