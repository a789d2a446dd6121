"""The demo's file is what its generator writes, and its reader refuses what is not that."""

from pathlib import Path

import pytest

from operations.demo import accounts


def test_the_committed_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    accounts.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == accounts.FILE.read_bytes()


def test_the_file_holds_a_thousand_accounts_of_several_banks_in_two_currencies() -> None:
    openings = accounts.read()
    assert len(openings) == 1_000
    assert {opening.account.currency for opening in openings} == {"EUR", "JPY"}
    assert len({opening.account.institution for opening in openings}) >= 5
    assert all(opening.deposit > 0 for opening in openings)


def test_amounts_are_in_the_exponent_of_the_currency(tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text(
        "owner,institution,currency,opening_balance,overdraft_limit\n"
        "ada,Nordbank,EUR,12.50,1\n"
        "hana,Hoshi Bank,JPY,1250,100\n"
    )
    ada, hana = accounts.read(file)
    assert (ada.deposit, ada.account.overdraft_limit) == (1250, 100)
    assert (hana.deposit, hana.account.overdraft_limit) == (1250, 100)


def test_only_as_many_as_wanted_are_read() -> None:
    assert len(accounts.read(limit=7)) == 7


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("owner,institution\n", "no column currency"),
        ("owner,institution,currency,opening_balance,overdraft_limit\n", "no accounts"),
        (
            "owner,institution,currency,opening_balance,overdraft_limit\na,b,JPY,1.5,0\n",
            "line 2: 1.5 has too many decimals",
        ),
        ("owner,institution,currency,opening_balance,overdraft_limit\na,b\n", "line 2"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=complaint):
        accounts.read(file)
