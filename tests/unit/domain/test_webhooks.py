"""Which events there are, and what may be asked for."""

from __future__ import annotations

import itertools

import pytest

from paycore.domain.transfers import TransferKind, TransferState
from paycore.domain.webhooks import (
    EventType,
    event_id,
    event_type_of,
    events_fault,
    parse_event_id,
    url_fault,
)


def test_every_kind_in_every_state_is_an_event_and_each_event_has_a_source() -> None:
    found = {
        event_type_of(kind, state)
        for kind, state in itertools.product(TransferKind, (None, *TransferState))
    }
    apart = {EventType.TRANSFER_DECLINED, EventType.ACCOUNT_OPENED, EventType.ACCOUNT_CHANGED}
    assert found == set(EventType) - apart


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (TransferState.RELEASED, EventType.TRANSFER_RELEASED),
        (TransferState.EXPIRED, EventType.TRANSFER_EXPIRED),
        (TransferState.ROLLED_BACK, EventType.TRANSFER_ROLLED_BACK),
    ],
)
def test_a_release_is_told_by_why_the_hold_ended(state: TransferState, expected: EventType) -> None:
    assert event_type_of(TransferKind.RELEASE, state) is expected


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        (TransferKind.RELEASE, None, EventType.TRANSFER_RELEASED),
        (TransferKind.CAPTURE, TransferState.CAPTURED, EventType.TRANSFER_CAPTURED),
        (TransferKind.CAPTURE, TransferState.PARTIALLY_CAPTURED, EventType.TRANSFER_CAPTURED),
        (TransferKind.REFUND, TransferState.PARTIALLY_REFUNDED, EventType.TRANSFER_REFUNDED),
        (TransferKind.REVERSAL, TransferState.REVERSED, EventType.TRANSFER_REVERSED),
        (TransferKind.HOLD, None, EventType.TRANSFER_HELD),
        (TransferKind.DEPOSIT, None, EventType.TRANSFER_POSTED),
    ],
)
def test_other_transfers_are_told_by_their_kind_alone(
    kind: TransferKind, state: TransferState | None, expected: EventType
) -> None:
    assert event_type_of(kind, state) is expected


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example:443/hook?x=1",
        "https://shop.example:8443/",
        "https://shop_1.example./",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]/",
        "https://xn--bcher-kva.example/",
        "https://shop.example/" + "x" * 2027,
        "https://shop.example:1024/",
        "https://a.b/",
        "https://" + "a" * 63 + ".example/",
        "https://" + "a23456789." * 25 + "abc/",
    ],
)
def test_an_endpoint_may_be_any_of_https(url: str) -> None:
    assert url_fault(url, http=False) is None
    assert url_fault(url, http=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "http://shop.example/",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///hook",
        "https://user@shop.example/",
        "https://user:word@shop.example/",
        "https://@shop.example/",
        "https://shop.example/#there",
        "https://shop.example:22/",
        "https://shop.example:80/",
        "https://shop.example:1023/",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example:x/",
        "https://shop.example/a b",
        "https://shop.example\\@other.example/",
        "https://shop.example/\n",
        "https://b\u00fccher.example/",
        "https://2130706433/",
        "https://127.1/",
        "https://[::1/",
        "https://[name]/",
        "https://a..b/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a23456789." * 25 + "abcd/",
        "https://shop.example/a\\b",
        "https://shop.example/" + "x" * 2028,
    ],
)
def test_what_is_no_endpoint_is_told_so(url: str) -> None:
    assert url_fault(url, http=False) is not None


def test_plain_http_is_allowed_by_a_setting_alone() -> None:
    for port in ("", ":80", ":8080"):
        assert url_fault(f"http://shop.example{port}/", http=True) is None
    assert url_fault("http://shop.example:443/", http=True) is not None
    assert url_fault("https://shop.example:80/", http=True) is not None


def test_events_are_known_different_and_some() -> None:
    assert events_fault(["*"]) is None
    assert events_fault(["transfer.posted"]) is None
    assert events_fault([event.value for event in EventType]) is None
    for wrong in ([], ["*", "*"], ["*", "transfer.posted"], ["transfer.posted"] * 2, ["nosuch"]):
        assert events_fault(wrong) is not None


def test_an_event_is_named_by_journal_row_and_place() -> None:
    for known in ((2**62, 999), (1, 0), (9_999_999_999_999_999_999, 999_999_999)):
        assert parse_event_id(event_id(*known)) == known
    for wrong in ("", "1", "1-", "-1", "1-2-3", "1-x", "\u0661-1", "9" * 20 + "-1", "1--1"):
        assert parse_event_id(wrong) is None
    assert parse_event_id("1-" + "9" * 10) is None
