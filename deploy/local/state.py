"""The state folder of one stack: where each thing lies, and the secrets made at first start."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import StateUnreadableError
from deploy.local.files import private_folder, write_private

DEFAULT_STATE = Path(".paycore")
STATE_VARIABLE = "PAYCORE_STATE"

REDIS_USERS = ("paycore_projector", "paycore_stream")

SECRET_BYTES = 24
KEY_BYTES = 32

ROLES = (
    "paycore_owner",
    "paycore_command",
    "paycore_signing",
    "paycore_projector",
    "paycore_query",
    "paycore_audit",
    "paycore_trail",
    "paycore_operator",
)


def default_state() -> Path:
    """Return the folder named by PAYCORE_STATE, or `.paycore` in the working folder."""
    return Path(os.environ.get(STATE_VARIABLE, DEFAULT_STATE))


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths inside the state folder. Nothing else of a stack lies outside it but the cache."""

    root: Path

    @property
    def stack_file(self) -> Path:
        """Endpoints, ports and process ids; see `deploy.local.record`."""
        return self.root / "stack.json"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def role_passwords_file(self) -> Path:
        """Role to password, as `operations.migrate bootstrap` reads it."""
        return self.keys / "role-passwords.json"

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def hash_key_file(self) -> Path:
        return self.keys / "hash.key"

    @property
    def trail_key_file(self) -> Path:
        """The key of hints in security events."""
        return self.keys / "trail.key"

    @property
    def page_token_key_file(self) -> Path:
        return self.keys / "page-token.key"

    @property
    def keystore_file(self) -> Path:
        """The signing service's encrypted keys; that service makes it."""
        return self.keys / "keystore.json"

    @property
    def keystore_passphrase_file(self) -> Path:
        return self.keys / "keystore.passphrase"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def part(self, name: str) -> Path:
        """The folder a part keeps its data in."""
        return self.root / name

    def create(self) -> None:
        """Make the folders, closed to other users."""
        for folder in (self.root, self.tls, self.keys, self.logs):
            private_folder(folder)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords of the stores. Never printed: `repr` leaves the values out."""

    postgres_admin: str = field(repr=False)
    redis: str = field(repr=False)
    elasticsearch: str = field(repr=False)
    roles: dict[str, str] = field(repr=False)
    redis_users: dict[str, str] = field(repr=False)


def ensure_secrets(state: StateFolder) -> Secrets:
    """Read the stack's secrets, making whatever is missing; then write the key files.

    Raises StateUnreadableError where a store's data is there but its password is not: new
    passwords would lock the stack out of its own data.
    """
    stored: dict[str, object] = {}
    if state.secrets_file.exists():
        stored = _load(state.secrets_file)
    else:
        for part in ("postgres", "elasticsearch"):
            if state.part(part).exists():
                raise StateUnreadableError(
                    f"{state.secrets_file} is gone but {state.part(part)} is there:"
                    " bring the file back, or remove the whole state folder to begin anew"
                )
    result = Secrets(
        postgres_admin=_text(stored, "postgres_admin"),
        redis=_text(stored, "redis"),
        elasticsearch=_text(stored, "elasticsearch"),
        roles=_texts(stored, "roles", ROLES),
        redis_users=_texts(stored, "redis_users", REDIS_USERS),
    )
    content = {
        "postgres_admin": result.postgres_admin,
        "redis": result.redis,
        "elasticsearch": result.elasticsearch,
        "roles": result.roles,
        "redis_users": result.redis_users,
    }
    if content != stored:
        write_private(state.secrets_file, json.dumps(content, indent=2) + "\n")
    write_private(state.role_passwords_file, json.dumps(result.roles, indent=2) + "\n")
    for path in (state.hash_key_file, state.page_token_key_file, state.trail_key_file):
        if not path.exists():
            write_private(path, secrets.token_hex(KEY_BYTES))
    if not state.keystore_passphrase_file.exists():
        write_private(state.keystore_passphrase_file, _new_secret())
    return result


def _load(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise StateUnreadableError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise StateUnreadableError(f"{path} does not hold a JSON object")
    return content


def _text(stored: dict[str, object], name: str) -> str:
    value = stored.get(name)
    return value if isinstance(value, str) and value else _new_secret()


def _texts(stored: dict[str, object], name: str, keys: tuple[str, ...]) -> dict[str, str]:
    values = stored.get(name)
    known = values if isinstance(values, dict) else {}
    return {key: str(known.get(key) or _new_secret()) for key in keys}


def _new_secret() -> str:
    # Hexadecimal needs no quoting in a DSN, a URL or a configuration file.
    return secrets.token_hex(SECRET_BYTES)
