"""Requests and replies that tests share."""

from paycore.client import Money, TransferOrder
from paycore.domain.position import Position
from paycore.v1 import money_pb2, transfer_pb2, transfer_service_pb2

ORDER = TransferOrder(debit_account=11, credit_account=12, amount=Money(250, "EUR"))
POSITION = Position(1, 700, 8).encode()
LATER_POSITION = Position(1, 701, 9).encode()


def transfer(transfer_id: int = 99) -> transfer_pb2.Transfer:
    """A posted transfer as a service would send it."""
    message = transfer_pb2.Transfer(
        id=transfer_id,
        kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
        state=transfer_pb2.TRANSFER_STATE_POSTED,
        debit_account_id=11,
        credit_account_id=12,
        amount=money_pb2.Money(minor_units=250, currency="EUR"),
        debit_version=1,
        credit_version=1,
        debit_balance_after=750,
        client="app",
        step_up_basis=transfer_pb2.STEP_UP_BASIS_BELOW_THRESHOLD,
    )
    message.create_time.FromMicroseconds(1_790_000_000_123_456)
    return message


def submitted(transfer_id: int = 99) -> transfer_service_pb2.SubmitTransferResponse:
    """The reply to SubmitTransfer."""
    return transfer_service_pb2.SubmitTransferResponse(
        transfer=transfer(transfer_id), position=POSITION
    )
