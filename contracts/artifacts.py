"""Compiled contracts, as committed below ``contracts/artifacts``; no compiler is needed to run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARTIFACTS = Path(__file__).parent / "artifacts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is needed to deploy a contract and to talk to it."""

    abi: list[dict[str, Any]]
    bytecode: str
    """Creation code, hex with ``0x``; constructor arguments are appended to it."""
    runtime: str
    """Code that stands on the chain afterwards, as ``eth_getCode`` answers it; hex with ``0x``."""


def load_artifact(name: str) -> Artifact:
    """Return a contract's artifact by its name, such as ``Token``."""
    content = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return Artifact(content["abi"], content["bytecode"], content["runtime"])
