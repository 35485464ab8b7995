"""What an offline run of W&B has written, read from its `.wandb` file.

W&B has no reader in Python. The file is 7 bytes of a header and a log of LevelDB: blocks of 32 KiB, in which each
piece of a record has a checksum of 4 bytes, its length in 2 and its kind in 1. A record is W&B's protocol buffer.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEADER, _BLOCK = 7, 2**15
# kinds of pieces
_WHOLE, _LAST = 1, 4


@dataclass
class OfflineRun:
    """A run of W&B: its id, name and group, its config, the rows of its history, its media and how it has ended."""

    directory: Path
    id: str = ""
    name: str = ""
    group: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def points(self, key: str) -> dict[int, Any]:
        """Return the values of a metric by the Trainer's step."""
        return {row["trainer/global_step"]: row[key] for row in self.rows if key in row}

    def file(self, value: dict[str, Any]) -> Path:
        """Return the path of a table or an image that a value of the history names."""
        return self.directory / "files" / value["path"]


def offline_runs(directory: Path) -> list[OfflineRun]:
    """Return the runs in the directory `wandb` of a run, in the order of their starts."""
    return [_read(path) for path in sorted((directory / "wandb").glob("offline-run-*/*.wandb"))]


def _read(path: Path) -> OfflineRun:
    from wandb.proto.wandb_internal_pb2 import Record

    run = OfflineRun(path.parent)
    for content in _records(path.read_bytes()):
        record = Record.FromString(content)
        if record.HasField("run"):
            run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
            updates = record.run.config.update
        else:
            updates = record.config.update
        for item in updates:
            run.config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        if record.HasField("history"):
            items = record.history.item
            run.rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
        if record.HasField("exit"):
            run.exit_code = record.exit.exit_code
    return run


def _records(content: bytes) -> Iterator[bytes]:
    assert content.startswith(b":W&B")
    place, record = _HEADER, b""
    while place + _HEADER <= len(content):
        if _BLOCK - place % _BLOCK < _HEADER:
            # no header fits into the rest of a block
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _HEADER])
        record += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""
