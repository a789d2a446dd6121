"""Which client may call which method: a table, deny by default."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class AccessTable:
    """Allowed methods by client, as `package.Service/Method` or `package.Service/*`."""

    methods: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Read the TOML table at `path`; without a path nobody may call anything.

        Raises ValueError when the file is not such a table.
        """
        if path is None:
            return cls()
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        clients = document.get("clients")
        if not isinstance(clients, dict):
            raise ValueError(f"{path}: no [clients.NAME] tables")
        table: dict[str, frozenset[str]] = {}
        for name, entry in clients.items():
            methods = entry.get("methods") if isinstance(entry, dict) else None
            if not isinstance(methods, list) or not all(isinstance(m, str) for m in methods):
                raise ValueError(f"{path}: clients.{name}.methods is not a list of methods")
            table[name] = frozenset(methods)
        return cls(table)

    def allows(self, client: str, service: str, method: str) -> bool:
        """Whether `client` may call `service/method`."""
        allowed = self.methods.get(client)
        return allowed is not None and (
            f"{service}/{method}" in allowed or f"{service}/*" in allowed
        )
