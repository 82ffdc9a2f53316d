"""What tests share: the package's own rows, and real data where a checkout of it lies beside the project."""

from pathlib import Path

import msgspec
import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared():
    """The folder of real third-party data; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("shared data not present")
    return SHARED


@pytest.fixture
def rows_file(tmp_path):
    """Write rows as JSON lines and give the path."""

    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        return str(path)

    return write
