"""Where the command line looks for the API of a local stack."""

import json
from dataclasses import asdict
from pathlib import Path

from cli.context import local_api_url
from devnet.ports import Ports


def test_asks_the_stack_of_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(json.dumps(asdict(Ports(api=20_123))))

    assert local_api_url(tmp_path) == "http://127.0.0.1:20123"


def test_asks_at_the_usual_port_where_there_is_no_stack(tmp_path: Path) -> None:
    assert local_api_url(tmp_path) == "http://127.0.0.1:8080"
