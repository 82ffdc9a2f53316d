"""The same work through our client and others: 2,000 rows x 3 dependent calls, and 500 rows x 3 at a bad server.

Whole processes against the package's mock server, one after another; at the bad server side by side, because there
only what comes out counts. A client is left out where no Python that has it is found, with a line on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import NamedTuple
from urllib.request import urlopen

from bench.figure import Figure
from bench.peers.work import CALLS, IN_FLIGHT, last_reply, read_results

ROWS = 2_000
FAULT_ROWS = 500
LATENCY_S = 0.2
LIMIT_S = ROWS * CALLS * LATENCY_S / IN_FLIGHT
GIVE_UP_S = 150.0
SAMPLE_S = 0.5
FAULTS = {"500": 0.05, "429": 0.05, "empty": 0.01, "length": 0.005, "cut": 0.005, "hang": 0.01}
RETRY_AFTER_S = 2
VERSION = "import sys, importlib.metadata; print(importlib.metadata.version(sys.argv[1]))"


class Client(NamedTuple):
    """A client that is there: its name and version, the Python that has it, and the module that does the work."""

    name: str
    python: str
    module: str


class Peer(NamedTuple):
    """Another client: its distribution, the variable with the path of a Python that has it, and the module."""

    distribution: str
    variable: str
    module: str


class Ran(NamedTuple):
    """What a client's process took, and what came out; `memory_mib` is the highest sum over its processes.

    `ended` is "finished", "failed", or "stopped" where it had not ended after `GIVE_UP_S`.
    """

    wall_s: float
    cpu_s: float
    memory_mib: float
    ended: str
    right: int
    wrong: int
    missing: int
    most_in_flight: int


PEERS = (
    Peer("openai", "SEQTUNE_BENCH_OPENAI_PYTHON", "openai_peer"),
    Peer("distilabel", "SEQTUNE_BENCH_DISTILABEL_PYTHON", "distilabel_peer"),
    Peer("bespokelabs-curator", "SEQTUNE_BENCH_CURATOR_PYTHON", "curator_peer"),
)


def figures() -> Iterator[Figure]:
    """For each client what it takes and how that compares with ours; then what comes out of a bad server."""
    ours, peers = Client("seqtune", sys.executable, "ours"), list(find_peers())
    taken = _run(ours, ROWS, tuned=False, faults={})
    if taken.right < ROWS:
        raise RuntimeError(f"only {taken.right} of {ROWS} rows are right: no others can be compared with that")
    yield from _cost(ours.name, taken)
    for peer in peers:
        ran = _run(peer, ROWS, tuned=False, faults={})
        yield from _cost(peer.name, ran)
        yield from _ratios(peer.name, ran, taken)
    yield from _faults([ours, *peers])


def _faults(clients: Sequence[Client]) -> Iterator[Figure]:
    cases = [(client, tuned) for client in clients for tuned in (False, True)]
    with ThreadPoolExecutor(len(cases)) as pool:
        running = [pool.submit(_run, client, FAULT_ROWS, tuned=tuned, faults=FAULTS) for client, tuned in cases]
        for (client, tuned), future in zip(cases, running, strict=True):
            yield from _outcome(f"{client.name}, {'tuned' if tuned else 'defaults'}, faults", future.result())


def find_peers(peers: Sequence[Peer] = PEERS) -> Iterator[Client]:
    """Those that some Python has; the others are named on stderr."""
    for peer in peers:
        python = os.environ.get(peer.variable, sys.executable)
        version = _version(python, peer.distribution)
        if version:
            yield Client(f"{peer.distribution} {version}", python, peer.module)
        else:
            print(f"{peer.distribution} is left out: set {peer.variable} to a Python that has it", file=sys.stderr)


def _version(python: str, distribution: str) -> str:
    try:
        asked = subprocess.run([python, "-c", VERSION, distribution], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout.strip()


def _cost(name: str, ran: Ran) -> Iterator[Figure]:
    if ran.ended != "finished":
        yield Figure(f"{name}: {ran.ended} after", ran.wall_s, "s")
        return
    yield Figure(f"{name}: wall time / limit", ran.wall_s / LIMIT_S, "x")
    yield Figure(f"{name}: CPU a call", ran.cpu_s * 1000 / (ROWS * CALLS), "ms")
    yield Figure(f"{name}: peak memory", ran.memory_mib, "MiB")
    yield Figure(f"{name}: most in flight", ran.most_in_flight, "calls")
    yield Figure(f"{name}: rows right of {ROWS:,}", ran.right, "rows")


def _ratios(name: str, ran: Ran, ours: Ran) -> Iterator[Figure]:
    if ran.ended == "finished":
        yield Figure(f"{name}: wall time / ours", ran.wall_s / ours.wall_s, "x")
        yield Figure(f"{name}: CPU / ours", ran.cpu_s / ours.cpu_s, "x")
        yield Figure(f"{name}: peak memory / ours", ran.memory_mib / ours.memory_mib, "x")


def _outcome(name: str, ran: Ran) -> Iterator[Figure]:
    yield Figure(f"{name}: {ran.ended} after", ran.wall_s, "s")
    yield Figure(f"{name}: right of {FAULT_ROWS}", ran.right, "rows")
    yield Figure(f"{name}: silently wrong", ran.wrong, "rows")
    yield Figure(f"{name}: missing", ran.missing, "rows")


def _run(client: Client, rows: int, *, tuned: bool, faults: Mapping[str, float]) -> Ran:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        mock_server("bench.peers.work:rule", LATENCY_S, faults) as url,
    ):
        folder = Path(place)
        words = [client.python, "-m", f"bench.peers.{client.module}", url, place, str(rows)]
        wall_s, cpu_s, memory_mib, ended = _measure([*words, "tuned" if tuned else "defaults"], folder)
        with urlopen(url.removesuffix("/v1") + "/stats") as stats:
            most_in_flight = json.load(stats)["most_at_once"]
        right, wrong, missing = _judge(folder, rows)
    return Ran(wall_s, cpu_s, memory_mib, ended, right, wrong, missing, most_in_flight)


def _judge(folder: Path, rows: int) -> tuple[int, int, int]:
    """Rows right, silently wrong and missing; an empty result cannot be mistaken for a good one, so it is missing."""
    given = {row: text for row, text in read_results(folder) if text}
    right = sum(text == last_reply(row) for row, text in given.items())
    return right, len(given) - right, rows - len(given)


@contextmanager
def mock_server(rule: str, latency_s: float = 0.0, faults: Mapping[str, float] | None = None) -> Iterator[str]:
    """The mock server as a process of its own, whose time is not the client's; gives its address."""
    words = [sys.executable, "-m", "seqtune", "mock-server", "--port", "0", "--json", "--rule", rule]
    words += ["--latency-ms", str(latency_s * 1e3), "--retry-after-s", str(RETRY_AFTER_S)]
    for name, rate in (faults or {}).items():
        words += ["--fault", f"{name}={rate}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()


def _measure(words: Sequence[str], folder: Path) -> tuple[float, float, float, str]:
    """Wall and processor seconds, memory in MiB and how it ended, of a process and its children.

    Memory is the resident peak of the largest process, or the sum of all, with shared pages counted once, where that is
    more; the sum is sampled, and only Linux has it.
    """
    log, done = folder / "log", Event()
    started = time.perf_counter()
    with log.open("wb") as out, ThreadPoolExecutor(1) as pool:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        watching = pool.submit(_watch, process.pid, done)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - started
        finally:
            done.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        sum_mib = watching.result()
    ended = "finished" if not process.returncode else "failed" if wall_s < GIVE_UP_S else "stopped"
    if ended == "failed":
        print(f"{words[2]} ended with {process.returncode}: {_last_line(log)}", file=sys.stderr)
    memory_mib = max(usage.ru_maxrss / 1024, sum_mib)
    return wall_s, usage.ru_utime + usage.ru_stime, memory_mib, ended


def _watch(session: int, done: Event) -> float:
    """The most memory of a session's processes together, in MiB; they are stopped after `GIVE_UP_S`, and at the end."""
    most_mib, ends = 0.0, time.monotonic() + GIVE_UP_S
    while not done.wait(SAMPLE_S):
        most_mib = max(most_mib, sum(map(_share_mib, _members(session))))
        if time.monotonic() > ends:
            _stop([session, *_members(session)])
    _stop(_members(session))  # children that outlive their parent
    return most_mib


def _stop(processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    return "".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:])[:300]


def _members(session: int) -> list[int]:
    """The processes of a session: all that its first one started."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _session_of(stat) == session]


def _session_of(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3])
    except (OSError, ValueError, IndexError):  # it has ended meanwhile
        return None


def _share_mib(pid: int) -> float:
    """Resident memory of a process; of a page that several have, its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
