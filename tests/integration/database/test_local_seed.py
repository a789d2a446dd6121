"""What the local stack grants, its method table lets be used."""

from __future__ import annotations

from deploy.local.services import ACCESS_FILE
from paycore.domain.grants import GrantAction
from paycore.runtime.access import AccessTable
from tests.integration.database.conftest import Connect

ACCOUNTS, TRANSFERS = "paycore.v1.AccountService", "paycore.v1.TransferService"
PAYING = tuple(
    (TRANSFERS, method)
    for method in ("SubmitTransfer", "SubmitTransfers", "SubmitTransferGroup", "StreamTransfers")
)
REFUND, REVERSAL = (TRANSFERS, "RefundTransfer"), (TRANSFERS, "ReverseTransfer")
HOLD = (TRANSFERS, "HoldFunds")

USES = {
    GrantAction.READ: ((ACCOUNTS, "GetAccount"), ("paycore.v1.HistoryService", "GetBalance")),
    GrantAction.SET_STATUS: ((ACCOUNTS, "SetAccountStatus"),),
    GrantAction.STEP_UP_EXEMPT: (*PAYING, HOLD),
    GrantAction.ACT_FOR_USERS: (*PAYING, HOLD),
    GrantAction.TRANSFER: PAYING,
    # Giving back crosses the border in the other direction.
    GrantAction.DEPOSIT: (*PAYING, REFUND, REVERSAL),
    GrantAction.WITHDRAWAL: (*PAYING, HOLD, REVERSAL),
    GrantAction.HOLD: (HOLD,),
    GrantAction.CAPTURE: ((TRANSFERS, "CaptureHold"),),
    GrantAction.RELEASE: ((TRANSFERS, "ReleaseHold"),),
    GrantAction.REFUND: (REFUND,),
    GrantAction.REVERSAL: (REVERSAL,),
    GrantAction.FEE: PAYING,
    GrantAction.NET_SETTLEMENT: PAYING,
    GrantAction.REVIEW: ((TRANSFERS, "ApproveReview"), (TRANSFERS, "RefuseReview")),
    GrantAction.LINK_IDENTIFIER: ((ACCOUNTS, "LinkExternalIdentifier"),),
    GrantAction.OPEN_EXTERNAL: ((ACCOUNTS, "CreateAccount"),),
    GrantAction.ERASE: (("paycore.v1.PersonalDataService", "EraseSubject"),),
    GrantAction.WEBHOOKS: (("paycore.v1.WebhookService", "ListSubscriptions"),),
    GrantAction.SET_OVERDRAFT: ((ACCOUNTS, "SetOverdraftLimit"), (ACCOUNTS, "CreateAccount")),
}
"""By which methods each grant is used."""


async def test_every_grant_can_be_used(connect: Connect) -> None:
    owner = await connect("owner")
    granted = await owner.fetch("SELECT client, action::text FROM ledger.grants")
    table = AccessTable.load(ACCESS_FILE)
    useless = [
        (client, action)
        for client, action in granted
        if not any(table.allows(client, *method) for method in USES[GrantAction(action)])
    ]
    assert granted
    assert useless == []


def test_every_kind_of_grant_has_a_use() -> None:
    assert set(USES) == set(GrantAction)
