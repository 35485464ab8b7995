"""Exported models: the tensors of a network as safetensors, and a JSON of all else beside them; no pickle anywhere.

The JSON has the record of the checkpoint (the registered name and the arguments of the network, the vocabulary, the
text and its split), and the digests of that and of the tensors. It names no file to read but the text, as a checkpoint
does.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from makemore.checkpoints import EXPORTED_WEIGHTS, RECORD_KEY, DamagedCheckpointError, naming_damage
from makemore.errors import UserError, first_line
from makemore.overrides import install

CONFIG = "config.json"
SCHEMA_VERSION = 1
# of the record of a checkpoint
RECORDED = ("model", "vocabulary", "data", "step")


def exported_files(state: Mapping[str, Tensor], record: Mapping[str, Any], **facts: Any) -> dict[str, bytes]:
    """Return the contents of the safetensors file and of the JSON, by their names.

    Args:
        state: of the network.
        record: of the checkpoint, as builtins.
        facts: for other programs, as JSON values; reading leaves them out.
    """
    from safetensors.torch import save

    # tied weights are one tensor under two names, of which the format knows nothing
    weights = save({name: tensor.detach().clone().contiguous() for name, tensor in state.items()})
    own = {key: record[key] for key in RECORDED}
    config = {
        "schema_version": SCHEMA_VERSION,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "record_sha256": _digest(own),
        RECORD_KEY: own,
        **facts,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
    return {EXPORTED_WEIGHTS: weights, CONFIG: f"{text}\n".encode()}


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_config(directory: Path) -> dict[str, Any]:
    """Return the JSON of an export; raise `UserError` where there is none or it is of a newer schema."""
    path = directory / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; it stands beside {EXPORTED_WEIGHTS}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(path, f"no JSON: {first_line(error)}") from error
    if not isinstance(config, dict) or "schema_version" not in config:
        raise UserError(f"{path}: is not of an export of this project; name one that makemore export wrote")
    version = config["schema_version"]
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise UserError(f"{path}: has schema version {version}, this program reads {SCHEMA_VERSION}; update it")
    return config


def read_exported(path: Path) -> dict[str, Any]:
    """Return what a checkpoint has of the state and of our record, from an exported `model.safetensors`.

    A file that is torn or altered is a `DamagedCheckpointError`; one of a newer schema or without the JSON beside it a
    `UserError`.
    """
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise UserError(f"{path}: needs the package safetensors: {install('export')}") from error
    config = read_config(path.parent)
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(weights).hexdigest() != config.get("sha256"):
        raise DamagedCheckpointError(path, f"its sha256 is not that of {CONFIG}")
    try:
        tensors = load(weights)
    except Exception as error:  # the reader may raise anything
        raise DamagedCheckpointError(path, first_line(error)) from error
    with naming_damage(path):
        record = {key: config[RECORD_KEY][key] for key in RECORDED}
        digest = _digest(record)
    # exports of the first releases have no digest of the record
    if config.get("record_sha256", digest) != digest:
        raise DamagedCheckpointError(path.with_name(CONFIG), f"its sha256 is not that of its {RECORD_KEY}")
    # copies are aligned as tensors of a checkpoint are, on which the last bits of products may depend
    state = {f"network.{name}": tensor.clone() for name, tensor in tensors.items()}
    return {"state_dict": state, RECORD_KEY: record}
