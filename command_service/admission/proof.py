"""A well-formed payment, with what came along to be checked before it is queued."""

from __future__ import annotations

from typing import NamedTuple

from paycore.domain.device_key import DeviceSignature
from paycore.domain.pin import SealedPin
from paycore.domain.transfers import TransferCommand


class Proof(NamedTuple):
    """The payer's approval as it came with the request."""

    approval: SealedPin | DeviceSignature
    signed_at_us: int


class ParsedTransfer(NamedTuple):
    """The command, its proof if it carries one, and whether it names a user for whom the client
    acts."""

    command: TransferCommand
    proof: Proof | None
    names_actor: bool
