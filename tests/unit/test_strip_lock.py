from pathlib import Path

from tools.strip_lock import main, strip

LOCK = """\
[[package]]
name = "one"
version = "1.0"
source = { registry = "https://index.example.org/simple" }
sdist = { url = "https://files.example.org/ab/one-1.0.tar.gz", hash = "sha256:aa", size = 3 }
wheels = [
    { url = "http://files.example.org/cd/one-1.0-py3-none-any.whl", hash = "sha256:bb" },
]
"""


class TestStrip:
    def test_leaves_no_address(self) -> None:
        assert "example.org" not in strip(LOCK)
        assert strip(LOCK).count("https://registry.invalid/") == 3

    def test_keeps_names_versions_and_hashes(self) -> None:
        kept = [line for line in LOCK.splitlines() if "example.org" not in line]

        assert [line for line in strip(LOCK).splitlines() if "invalid" not in line] == kept
        assert 'hash = "sha256:aa", size = 3' in strip(LOCK)
        assert 'one-1.0-py3-none-any.whl", hash = "sha256:bb"' in strip(LOCK)

    def test_changes_nothing_the_second_time(self) -> None:
        assert strip(strip(LOCK)) == strip(LOCK)

    def test_rewrites_the_named_file(self, tmp_path: Path) -> None:
        path = tmp_path / "uv.lock"
        path.write_text(LOCK)

        assert main([str(path)]) == 0
        assert path.read_text() == strip(LOCK)
