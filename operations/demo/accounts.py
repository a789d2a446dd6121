"""The demo's accounts: a CSV file, the seeded generator that wrote it, and its reader.

`python -m operations.demo.accounts` writes accounts.csv anew, byte for byte. Columns:

- owner:            user who owns the account and whom step-up asks; a user may own several
- institution:      bank that holds it
- currency:         ISO 4217 code
- opening_balance:  deposited at the start, a decimal in the currency's own exponent
- overdraft_limit:  how far below zero it may go, likewise
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from operations.load.population import Opening
from operations.money import exponent, parse_amount
from paycore.client import NewAccount

FILE = Path(__file__).with_name("accounts.csv")
COLUMNS = ("owner", "institution", "currency", "opening_balance", "overdraft_limit")
SEED = 20_260_901
COUNT = 1_000

_BANKS = {
    "EUR": ("Nordbank", "Banco Ribera", "Caisse du Lac", "Adria Banka"),
    "JPY": ("Hoshi Bank", "Minato Trust", "Sakura Shinkin"),
}
_EUR_SHARE = 0.6
_FIRST = (
    "ada", "akira", "bianca", "carla", "daichi", "elif", "emil", "fatima", "goran", "hana",
    "ines", "jonas", "kenji", "lena", "marek", "mio", "nadia", "oskar", "paula", "rafael",
    "sora", "tessa", "ugo", "vera", "yuki", "zoe",
)  # fmt: skip
_LAST = (
    "abe", "berg", "costa", "dubois", "eriksen", "fischer", "garcia", "horvat", "ito", "jansen",
    "kato", "lindqvist", "moreau", "novak", "ono", "petrov", "rossi", "sato", "tanaka", "ueda",
    "varga", "weber", "yamada", "zeman",
)  # fmt: skip


def generate(count: int = COUNT, seed: int = SEED) -> Iterator[dict[str, str]]:
    """`count` random rows; the same for the same seed."""
    # Not for secrets: the file must come out the same again.
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        owner = f"{chance.choice(_FIRST)}.{chance.choice(_LAST)}"
        currency = "EUR" if chance.random() < _EUR_SHARE else "JPY"
        # In whole units times 100, so that both currencies hold comparable sums.
        hundreds = chance.randint(1, 100)
        overdraft = chance.choice((0, 0, 0, 100, 500))
        yield {
            "owner": owner,
            "institution": chance.choice(_BANKS[currency]),
            "currency": currency,
            "opening_balance": _amount(hundreds * 100, chance.randrange(100), currency),
            "overdraft_limit": _amount(overdraft, 0, currency),
        }


def _amount(units: int, cents: int, currency: str) -> str:
    if exponent(currency) == 0:
        # A yen is about a cent.
        return str(units * 100 + cents)
    return f"{units}.{cents:02}"


def write(path: Path = FILE) -> None:
    """Write the file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(generate())


def read(path: Path = FILE, limit: int | None = None) -> list[Opening]:
    """The accounts in a file of this form, the first `limit` of them.

    Raises ValueError, naming the line, when a column is missing or a value is not what it must be.
    """
    openings: list[Opening] = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        for row in reader:
            if limit is not None and len(openings) >= limit:
                break
            try:
                openings.append(_opening(row))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    if not openings:
        raise ValueError(f"{path}: no accounts")
    return openings


def _opening(row: dict[str, str]) -> Opening:
    currency = row["currency"]
    return Opening(
        NewAccount(
            owner=row["owner"],
            institution=row["institution"],
            currency=currency,
            overdraft_limit=parse_amount(row["overdraft_limit"], currency),
        ),
        parse_amount(row["opening_balance"], currency),
    )


if __name__ == "__main__":
    write()
