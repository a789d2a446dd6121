"""`python -m operations.verify`: as `paycore verify`."""

import typer

from operations.cli.verify import verify

if __name__ == "__main__":
    typer.run(verify)
