"""The demo as a person runs it: on a bare state folder, and again on the used one."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from deploy.local.record import read_record
from deploy.local.state import StateFolder
from operations.verify.rules import RULES

TIMEOUT_S = 600.0


async def run_demo(state: Path, *arguments: str) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if "PAYCORE" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from operations.cli import main; main()", "demo",
        "--state", str(state), "--accounts", "60", "--transfers", "300", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "COLUMNS": "100"},
    )  # fmt: skip
    try:
        output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.terminate()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.timeout(1260)
async def test_the_demo_holds_and_may_be_repeated(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    state = tmp_path_factory.mktemp("demo")
    code, output, errors = await run_demo(state)
    assert code == 0, output + errors
    assert "all of it held" in output
    assert f"{len(RULES) + 1} rules hold" in output
    assert not read_record(StateFolder(state).stack_file).is_run_by_a_living_process()

    code, output, errors = await run_demo(state, "--json", "--seed", "7")
    assert code == 0, output + errors
    told = json.loads(output)
    assert told["held"] is True
    assert len(told["acts"]) == 11
    assert "seed 7" in errors
