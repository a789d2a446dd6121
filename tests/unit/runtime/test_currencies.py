"""Money that stands in the ledger is read for ever as it was written."""

import re

import pytest

from command_service.servicers.account_requests import AccountRequests
from command_service.servicers.fields import Fields
from operations.money import format_money, parse_amount
from paycore.domain.errors import PaycoreError
from paycore.domain.grants import Grants
from paycore.domain.rules import Rules
from paycore.runtime.currencies import EXPONENTS, WITHDRAWN, is_in_force, is_known
from paycore.v1 import account_pb2, account_service_pb2, money_pb2
from query_service.servicers.fields import Fields as QueryFields

TOLD = """
AED2 AFN2 ALL2 AMD2 ANG2 AOA2 ARS2 AUD2 AWG2 AZN2 BAM2 BBD2 BDT2 BGN2 BHD3 BIF0 BMD2 BND2
BOB2 BOV2 BRL2 BSD2 BTN2 BWP2 BYN2 BYR0 BZD2 CAD2 CDF2 CHE2 CHF2 CHW2 CLF4 CLP0 CNY2 COP2
COU2 CRC2 CUC2 CUP2 CVE2 CZK2 DJF0 DKK2 DOP2 DZD2 EGP2 ERN2 ETB2 EUR2 FJD2 FKP2 GBP2 GEL2
GHS2 GIP2 GMD2 GNF0 GTQ2 GYD2 HKD2 HNL2 HRK2 HTG2 HUF2 IDR2 ILS2 INR2 IQD3 IRR2 ISK0 JMD2
JOD3 JPY0 KES2 KGS2 KHR2 KMF0 KPW2 KRW0 KWD3 KYD2 KZT2 LAK2 LBP2 LKR2 LRD2 LSL2 LTL2 LVL2
LYD3 MAD2 MDL2 MGA2 MKD2 MMK2 MNT2 MOP2 MRO2 MRU2 MUR2 MVR2 MWK2 MXN2 MXV2 MYR2 MZN2 NAD2
NGN2 NIO2 NOK2 NPR2 NZD2 OMR3 PAB2 PEN2 PGK2 PHP2 PKR2 PLN2 PYG0 QAR2 RON2 RSD2 RUB2 RWF0
SAR2 SBD2 SCR2 SDG2 SEK2 SGD2 SHP2 SLE2 SLL2 SOS2 SRD2 SSP2 STD2 STN2 SVC2 SYP2 SZL2 THB2
TJS2 TMT2 TND3 TOP2 TRY2 TTD2 TWD2 TZS2 UAH2 UGX0 USD2 USN2 USS2 UYI0 UYU2 UYW4 UZS2 VED2
VEF2 VES2 VND0 VUV0 WST2 XAD2 XAF0 XCD2 XCG2 XOF0 XPF0 YER2 ZAR2 ZMK2 ZMW2 ZWG2 ZWL2
"""
"""What accounts may be in. A code never leaves it, and no number of decimals changes: a release of
the package that drops a currency takes an entry in WITHDRAWN."""


def test_what_was_known_stays_known_with_its_decimals() -> None:
    told = {code: int(decimals) for code, decimals in re.findall(r"([A-Z]{3})(\d)", TOLD)}
    assert {code: EXPONENTS.get(code) for code in told} == told


@pytest.mark.parametrize("code", WITHDRAWN)
def test_what_was_withdrawn_is_read_and_written(code: str) -> None:
    assert is_known(code)
    assert parse_amount(format_money(1250, code).split()[0].replace(",", ""), code) == 1250
    fields = QueryFields()
    assert fields.currency("currency", code) == code
    fields.check()


@pytest.mark.parametrize("code", ["BGN", "HRK", "BYR"])
def test_what_was_withdrawn_is_paid_but_no_account_is_opened_in_it(code: str) -> None:
    assert not is_in_force(code)
    fields = Fields("")
    fields.money("amount", money_pb2.Money(minor_units=1, currency=code))
    fields.check()
    with pytest.raises(PaycoreError) as refused:
        _open(code)
    [violation] = refused.value.violations
    assert violation.field == "currency"
    assert "withdrawn" in violation.description


def test_an_account_is_opened_in_what_is_in_force_alone() -> None:
    assert _open("EUR") == "EUR"
    for code in ("XAU", "ZZZ", "eur", ""):
        assert not is_known(code)
        with pytest.raises(PaycoreError):
            _open(code)


def _open(currency: str) -> str:
    request = account_service_pb2.CreateAccountRequest(
        idempotency_key="k",
        owner="ada",
        institution="Nordbank",
        currency=currency,
        kind=account_pb2.ACCOUNT_KIND_CUSTOMER,
    )

    nothing_granted = Rules(Grants.of([]), {})
    return AccountRequests(lambda: nothing_granted, bytes(32)).opening(request, "app").currency
