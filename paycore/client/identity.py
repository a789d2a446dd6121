"""Who the client is, by its own certificate: the name that payments are bound to."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from paycore.runtime.tls import identity_of


def certificate_identity(certificate: Path) -> str:
    """The name in the SPIFFE id of the PEM file `certificate`.

    Raises OSError when it cannot be read and ValueError when it holds no certificate or no name.
    """
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError(f"{certificate}: no alternative names") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    identity = identity_of(uri.encode() for uri in uris)
    if identity is None:
        raise ValueError(f"{certificate}: no paycore identity among the alternative names")
    return identity
