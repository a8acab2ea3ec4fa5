"""Statistics over many seeds, kept seed by seed in a file so that a run broken off goes on."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def seeds_parser(description: str | None, *, seeds: int) -> argparse.ArgumentParser:
    """Return a parser of ``--seeds``, ``--first`` and ``--store``."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first", type=int, default=5000)
    parser.add_argument("--store", type=Path)
    return parser


def kept_rows(asked: argparse.Namespace, key: list[Any], run: Callable[[int], Row]) -> list[Row]:
    """Return the row of every seed asked for, from the store where it holds one of this key."""
    kept: dict[int, Row] = {}
    if asked.store and asked.store.exists():
        old = [json.loads(text) for text in asked.store.read_text().splitlines()]
        kept = {row["seed"]: row for row in old if row["key"] == key}
    rows = []
    for seed in range(asked.first, asked.first + asked.seeds):
        row = kept.get(seed) or run(seed) | {"key": key}
        if asked.store and seed not in kept:
            with asked.store.open("a") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(row)
    return rows
