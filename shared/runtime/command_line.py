"""The command line of a process that takes no options: its settings are environment variables."""

import argparse


def take_no_options(module: str, description: str | None) -> None:
    """Show `description` for `--help`; end the process with 2 on any other argument."""
    argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog="Settings are environment variables, or stand in .env: README.md lists them.",
    ).parse_args()
