"""Configurations as ghz runs them against one stack: with its ids, certificates and addresses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from deploy.ghz.configurations import ONCE, Configuration
from deploy.ghz.preparation import Preparation
from deploy.local.endpoints import Endpoints


async def make_ready(
    configuration: Configuration,
    preparation: Preparation,
    endpoints: Endpoints,
    descriptors: Path,
    folder: Path,
    total: int,
) -> Path:
    """Write `configuration` for `total` calls into `folder`, once what it names is there.

    Raises as Preparation.things.
    """
    wanted = Counter({sort: total if sort in ONCE else 1 for sort in configuration.named})
    things = await preparation.things(wanted)
    client = Path(configuration.values["cert"]).stem
    files = endpoints.tls[client]
    concurrency = min(int(configuration.values["concurrency"]), total)
    values = {
        **configuration.values,
        "protoset": str(descriptors),
        "cacert": str(files.ca),
        "cert": str(files.certificate),
        "key": str(files.key),
        "data": configuration.requests(things, total),
        "total": total,
        "concurrency": concurrency,
        "connections": min(int(configuration.values["connections"]), concurrency),
    }
    path = folder / f"{configuration.name}.json"
    path.write_text(json.dumps(values, indent=1) + "\n")
    return path
