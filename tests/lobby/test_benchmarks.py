"""`benchmarks/run.py` as a contract: what it prints where, and its exit codes."""

import json
import math
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"ours_s", "floor_s", "peers_s", "ratio_to_floor", "peak_memory_bytes", "size"}


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_json_is_one_object_with_the_promised_entries() -> None:
    done = benchmark("ssb", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results
    for result in results.values():
        # Further figures may stand beside them where a subject has some.
        assert set(result) - {"figures"} == KEYS
        assert result["ours_s"] > 0
        assert result["floor_s"] > 0
        assert math.isclose(result["ratio_to_floor"], result["ours_s"] / result["floor_s"])
        # The gathered disc alone: 32 x 32 positions of some 600 pixels in float32.
        assert result["peak_memory_bytes"] > 4 * 32**2 * 600
        assert result["size"] == {"scan": [32, 32], "detector": [32, 32]}
        assert isinstance(result["peers_s"], dict)


def test_list_names_every_subject_with_what_it_measures() -> None:
    done = benchmark("--list")
    assert done.returncode == 0
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert set(listed) >= {"ssb", "wdd", "simulation", "paper_size"}
    assert all(len(what) > 20 for what in listed.values())


def test_an_unknown_name_is_one_message_that_names_the_near_match() -> None:
    done = benchmark("sbb", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert "no benchmark 'sbb'" in message
    assert "did you mean 'ssb'?" in message
    assert "paper_size" in message
