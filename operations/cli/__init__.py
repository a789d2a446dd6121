"""`paycore`: the command line of paycore."""


def main() -> None:
    """The console script."""
    # Imported when it runs: what the commands are made of needs nothing of the command line.
    from operations.cli.app import app

    app()
