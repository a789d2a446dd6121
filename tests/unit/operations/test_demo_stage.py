"""The demo ends well only if every act held."""

from io import StringIO

from rich.console import Console

from operations.demo.stage import Stage, expect
from paycore.client.errors import InsufficientFundsError


def stage() -> Stage:
    return Stage(Console(file=StringIO(), width=100, no_color=True))


async def good() -> str:
    return "fine"


async def missed() -> str:
    expect(False, "three are too few")
    return "never"


async def refused() -> str:
    raise InsufficientFundsError("poor")


async def test_all_acts_held() -> None:
    played = stage()
    assert await played.play("one", good)
    assert played.held


async def test_one_missed_act_is_enough() -> None:
    played = stage()
    assert not await played.play("one", missed)
    assert await played.play("two", good)
    assert not played.held
    assert played.acts[0].note == "three are too few"


async def test_an_unexpected_refusal_is_a_missed_act() -> None:
    played = stage()
    assert not await played.play("one", refused)
    assert "INSUFFICIENT_FUNDS" in played.acts[0].note


def test_an_empty_stage_proves_nothing() -> None:
    assert not stage().held
