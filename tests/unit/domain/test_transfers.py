"""What commands are about, and what is never printed of them."""

from __future__ import annotations

from paycore.domain.transfers import Details, TransferKind, accounts_of
from tests.support.samples import child, command, group


def test_a_command_concerns_the_accounts_on_both_sides() -> None:
    assert accounts_of(command(1, 2)) == {1, 2}
    assert accounts_of(child(TransferKind.REFUND)) == {1, 2}
    assert accounts_of(group(command(1, 2), command(3, 1), command(1, 4))) == {1, 2, 3, 4}


def test_personal_data_print_as_stars() -> None:
    details = Details("ada", "phone", "::1", "rent", {"a": "b"})
    assert f"{details} {details!r} {[details]}" == "Details(***) Details(***) [Details(***)]"
