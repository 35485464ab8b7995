"""Short runs for the tests of what acts in a run, and whether a refusal names a key of the config."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from makemore.runs.assemble import assemble
from makemore.system.hydra_release import composing
from makemore.training.trainer_arguments import ARGUMENTS

ROOT = Path(__file__).parents[2]
_SHORT = ("model=mlp", "model.hidden_dim=8", "watch=none", "mixture=false", "num_samples=1", "threads=1")
_PLAN = ("trainer.max_steps=7", "val_every=5", "steps_per_execution=3", "log_every=1")


def compose_short(text: Path, *overrides: str) -> DictConfig:
    """Compose the config of a run of seven steps, in blocks of up to three, with validations at 5 and 7."""
    with composing():
        config = compose("train", ["data=text", f"data.path={text}", *_SHORT, *_PLAN, *overrides])
    OmegaConf.set_struct(config, False)
    return config


def given(config: DictConfig, group: str, **values: Any) -> DictConfig:
    """Return a config with other values in a group."""
    config = config.copy()
    config[group].update(values)
    return config


def fit_short(config: DictConfig, run_dir: Path, *callbacks: L.Callback) -> L.Trainer:
    """Fit a run's model with a run's Trainer, its callbacks and checkpoints, and leave out what else a run does."""
    parts = assemble(config, run_dir)
    trainer = parts.trainer([*callbacks, *parts.callbacks, parts.checkpoints])
    trainer.fit(parts.model, datamodule=parts.data)
    return trainer


def names_a_key(refusal: str, config: DictConfig) -> bool:
    """Return whether a refusal names a key or a group of the config, or one of Hydra's, to use."""
    words = re.findall(r"[a-z_]+(?:[./][a-z_]+)*", refusal)
    missing = object()
    config = OmegaConf.merge(config, {"trainer": dict.fromkeys(ARGUMENTS)})
    return any(
        word.startswith(("hydra.", "hydra/"))
        or (
            ("." in word or "_" in word or f"{word}=" in refusal or f"{word}.NAME" in refusal)
            and OmegaConf.select(config, word, default=missing) is not missing
        )
        for word in words
    )


def assert_documented(rows: Sequence[str]) -> None:
    """Assert that docs/lightning.md has these rows of a table, one below the other."""
    text = (ROOT / "docs" / "lightning.md").read_text()
    table = "\n".join(rows)
    assert table in text, f"docs/lightning.md lacks the rows\n{table}"
