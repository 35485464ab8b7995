"""What a command does before its work, done once in the server of trials.py, as it imports this module.

Each forked process inherits what YAML was parsed to, the plugins of Hydra and the tables of its parsers: half the
time in which a config is composed.
"""

import gc
from pathlib import Path

from hydra import compose
from omegaconf import OmegaConf

import shortcuts
from makemore.system.hydra_release import composing

CONF = Path(__file__).parents[2] / "conf"

shortcuts.install()
for path in CONF.rglob("*.yaml"):
    OmegaConf.load(path)
with composing():
    compose("train", ["seed=1"], return_hydra_config=True)
# a collection in a child would write to, and so copy, the memory that it shares with the server: half a second
gc.collect()
gc.freeze()
