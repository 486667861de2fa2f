"""Compile every contract: ``python -m contracts.compile`` writes, ``--check`` only compares."""

import argparse
import json
import sys
from pathlib import Path

from vyper.compiler import compile_code
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.settings import OptimizationLevel, Settings

from contracts.artifacts import ARTIFACTS

SOURCES = Path(__file__).parent


def compiled(source: Path) -> str:
    """Return the artifact of a source as JSON text; the same source gives the same text."""
    output = compile_code(
        source.read_text(),
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        settings=Settings(optimize=OptimizationLevel.GAS),
        input_bundle=FilesystemInputBundle([SOURCES]),
    )
    content = {
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime": output["bytecode_runtime"],
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def stale_artifacts() -> dict[Path, str | None]:
    """Return what must change to match the sources: new text per file, None for a leftover."""
    wanted = {ARTIFACTS / f"{s.stem}.json": compiled(s) for s in sorted(SOURCES.glob("*.vy"))}
    stale: dict[Path, str | None] = {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text
    }
    return stale | {path: None for path in ARTIFACTS.glob("*.json") if path not in wanted}


def main() -> int:
    """Bring the artifacts up to date, or with ``--check`` tell whether they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    arguments = parser.parse_args()
    stale = stale_artifacts()
    for path, text in stale.items():
        sys.stdout.write(f"{'stale' if arguments.check else 'updated'}: {path.name}\n")
        if arguments.check:
            continue
        if text is None:
            path.unlink()
        else:
            ARTIFACTS.mkdir(exist_ok=True)
            path.write_text(text)
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
