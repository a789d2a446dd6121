"""Generate the gRPC stubs under paycore/ from protos/, or check that they are current.

Exit code 0 when written or current, 1 when `--check` finds a difference or the protos are wrong.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.rpc import status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def _include_paths() -> list[str]:
    """Folders that hold the imported google/ protos: those of grpc_tools and of googleapis."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    googleapis = Path(status_pb2.__file__).parent.parent.parent
    return [f"-I{PROTOS}", f"-I{well_known}", f"-I{googleapis}"]


def _sources() -> list[str]:
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))


def generate(target: Path) -> int:
    """Write all stubs below `target`; returns protoc's exit code."""
    return int(
        protoc.main(
            [
                "protoc",
                *_include_paths(),
                f"--python_out={target}",
                f"--grpc_python_out={target}",
                f"--mypy_out=quiet:{target}",
                f"--mypy_grpc_out=quiet:{target}",
                *_sources(),
            ]
        )
    )


def describe(target: Path) -> int:
    """Write a descriptor set with source information, for linting and for callers that have no
    stubs; returns protoc's exit code."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return int(
        protoc.main(
            [
                "protoc",
                *_include_paths(),
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={target}",
                *_sources(),
            ]
        )
    )


def _generated(root: Path) -> set[Path]:
    return {
        path.relative_to(root) for pattern in PATTERNS for path in (root / "paycore").rglob(pattern)
    }


def stale() -> list[Path]:
    """Stubs that are missing, superfluous or differ from what the protos give."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        if generate(fresh) != 0:
            raise SystemExit("the protos do not compile")
        wanted, present = _generated(fresh), _generated(ROOT)
        differing = {
            path
            for path in wanted & present
            if not filecmp.cmp(fresh / path, ROOT / path, shallow=False)
        }
        return sorted((wanted ^ present) | differing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; write nothing")
    parser.add_argument("--descriptors", type=Path, help="write a descriptor set to this file")
    arguments = parser.parse_args()
    if arguments.descriptors is not None:
        return describe(arguments.descriptors)
    if arguments.check:
        different = stale()
        for path in different:
            print(f"stub not current: {path} (run `make protos`)", file=sys.stderr)
        return 1 if different else 0
    for path in _generated(ROOT):
        (ROOT / path).unlink()
    with tempfile.TemporaryDirectory() as folder:
        code = generate(Path(folder))
        if code == 0:
            shutil.copytree(Path(folder) / "paycore", ROOT / "paycore", dirs_exist_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
