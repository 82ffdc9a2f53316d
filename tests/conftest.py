"""What tests share: the package's own rows, and real data where a checkout of it lies beside the project."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no measuring: what fails was broken by the change at hand, and not by luck or load.
# `pytest --hypothesis-profile=default` looks for others.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

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


class Served:
    """A mock server that runs as a process of its own: its address with the model, and what it has seen."""

    def __init__(self, process, url):
        self.process, self.url, self.llm = process, url, f"{url}#mock"

    def stats(self):
        with urlopen(self.url.removesuffix("/v1") + "/stats") as response:
            return json.load(response)


@pytest.fixture
def mock_server():
    """Start `seqtune mock-server` with more options, on any free port."""
    with ExitStack() as stack:

        def start(*options):
            command = [sys.executable, "-m", "seqtune", "mock-server", "--port", "0", "--json", *options]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.terminate)
            return Served(process, json.loads(process.stdout.readline())["url"])

        yield start
