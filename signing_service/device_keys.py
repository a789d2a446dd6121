"""The public keys of devices, and whether a signature is theirs."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from paycore.domain.device_key import DeviceAlgorithm

UNCOMPRESSED_POINT_BYTES = 65

_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)
"""Encodings of the eight points of small order on edwards25519, reduced and not: under such a key
one signature may pass for many messages (Chalkias et al., Taming the many EdDSAs, table 6)."""


class DeviceKey:
    """One public key. Only what the algorithm's one encoding holds is a key or a signature."""

    def __init__(self, algorithm: DeviceAlgorithm, public_key: bytes) -> None:
        """Raises ValueError when `public_key` is none of that algorithm."""
        self._key: Ed25519PublicKey | ec.EllipticCurvePublicKey
        match algorithm:
            case DeviceAlgorithm.ED25519:
                if public_key in _SMALL_ORDER:
                    raise ValueError("a point of small order is no key")
                self._key = Ed25519PublicKey.from_public_bytes(public_key)
            case DeviceAlgorithm.P256:
                if len(public_key) != UNCOMPRESSED_POINT_BYTES or public_key[0] != 4:
                    raise ValueError("not an uncompressed point")
                self._key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)

    def signed(self, signature: bytes, digest: bytes) -> bool:
        """Whether `signature` was made by this key's owner over the bytes of `digest`."""
        try:
            match self._key:
                case Ed25519PublicKey():
                    self._key.verify(signature, digest)
                case ec.EllipticCurvePublicKey():
                    if encode_dss_signature(*decode_dss_signature(signature)) != signature:
                        return False
                    self._key.verify(signature, digest, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True
