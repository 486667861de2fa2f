import os
import stat
from pathlib import Path

import pytest

from devnet import debian_package, litecoin_node
from devnet.bitcoin_daemon import bitcoin_node, bitcoind
from devnet.debian_package import Program, unpacked_program
from devnet.errors import BinaryMissingError
from devnet.npm_package import CACHE_VARIABLE

PASSWORD = "not-on-the-command-line"


@pytest.fixture
def path_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder that programs are looked for in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def put_program(folder: Path, name: str, *, prints: str = "", status: int = 0) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    path.chmod(0o755)
    return path


class TestBitcoind:
    def test_is_used_when_it_is_recent(self, path_dir: Path, tmp_path: Path) -> None:
        found = put_program(path_dir, "bitcoind", prints="Bitcoin Core version v25.0.0")

        node = bitcoin_node(tmp_path / "data", 1, password=PASSWORD)

        assert node.command()[0] == str(found)
        assert node.loses_unflushed_blocks

    @pytest.mark.parametrize(
        ("prints", "status"),
        [("Bitcoin Core version v24.1.0", 0), ("something else", 0), ("version v29.0.0", 1)],
    )
    def test_is_not_used_otherwise(
        self, path_dir: Path, tmp_path: Path, prints: str, status: int
    ) -> None:
        put_program(path_dir, "bitcoind", prints=prints, status=status)

        assert bitcoind() is None
        assert "devnet.bitcoin_node" in bitcoin_node(tmp_path, 1, password=PASSWORD).command()


class TestUtxoNode:
    def test_keeps_the_password_off_the_command_line(self, path_dir: Path, tmp_path: Path) -> None:
        del path_dir
        node = bitcoin_node(tmp_path / "data", 18443, password=PASSWORD)
        node.prepare()

        config = tmp_path / "data" / "bitcoin.conf"
        assert PASSWORD not in " ".join(node.command())
        assert PASSWORD not in repr(node)
        assert f"rpcpassword={PASSWORD}\n" in config.read_text()
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert node.url == f"http://strongroom:{PASSWORD}@127.0.0.1:18443"

    def test_is_not_ready_when_nobody_answers(self, path_dir: Path, tmp_path: Path) -> None:
        del path_dir
        node = bitcoin_node(tmp_path, 1, password=PASSWORD)

        assert not node.is_ready()
        assert not node.flush()


class TestLitecoind:
    def test_says_what_to_do_where_it_cannot_be_had(
        self, path_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del path_dir
        monkeypatch.setattr(litecoin_node, "PACKAGED_PATH", "no/such/litecoind")

        with pytest.raises(BinaryMissingError, match=r"apt-get install litecoind.*on PATH"):
            litecoin_node.litecoind.__wrapped__()

    def test_is_taken_from_path(self, path_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = put_program(path_dir, "litecoind")
        monkeypatch.setattr(litecoin_node, "PACKAGED_PATH", "no/such/litecoind")

        assert litecoin_node.litecoind.__wrapped__() == Program(found)


class TestUnpackedProgram:
    def test_is_fetched_by_apt_and_dpkg_into_the_cache(
        self, path_dir: Path, tmp_path: Path
    ) -> None:
        """Programs of these names are called as the real ones are; nothing is installed."""
        calls = tmp_path / "calls"
        (path_dir / "apt-get").write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\n'
            'for a in "$@"; do case $a in\n'
            "Dir::Cache::archives=*) : > ${a#*=}/tool_1.deb;; esac; done\n"
        )
        (path_dir / "dpkg-deb").write_text(
            "#!/bin/sh\nexport PATH=/usr/bin:/bin\nmkdir -p $3/usr/bin $3/usr/lib/x\n"
            ": > $3/usr/lib/x/libtool.so.1\n"
            "printf '#!/bin/sh\\nexit 0\\n' > $3/usr/bin/tool\nchmod +x $3/usr/bin/tool\n"
        )
        for name in ("apt-get", "dpkg-deb"):
            (path_dir / name).chmod(0o755)

        program = unpacked_program("tool", "usr/bin/tool")
        again = unpacked_program("tool", "usr/bin/tool")

        assert program == again
        assert program.runs()
        [libraries] = program.library_dirs
        assert program.environment({"LD_LIBRARY_PATH": "/there"})["LD_LIBRARY_PATH"] == (
            f"{libraries}{os.pathsep}/there"
        )
        asked = calls.read_text().splitlines()
        assert len(asked) == 2, "the second time it comes from the cache"
        assert asked[1].endswith("--download-only install tool")
        assert list((tmp_path / "cache" / "debian").iterdir()) == [program.path.parents[2]]

    def test_is_fetched_again_when_it_does_not_run_any_more(
        self, path_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del path_dir
        monkeypatch.setattr(debian_package, "_release", lambda: "any")
        [folder] = [tmp_path / "cache" / "debian" / f"tool-any-{os.uname().machine}"]
        (folder / "usr" / "bin").mkdir(parents=True)
        put_program(folder / "usr" / "bin", "tool", status=1)

        with pytest.raises(BinaryMissingError, match="apt-get could not be run"):
            unpacked_program("tool", "usr/bin/tool")
        assert not folder.exists()
