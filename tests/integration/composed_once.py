"""What a command does before its work, done once in the server of trials.py, as it imports this module.

Each forked process inherits what YAML was parsed to, the plugins of Hydra, the tables of its parsers, and the files of
the configs that most tests compose: nearly all of the time that composing takes.
"""

import gc

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

import shortcuts

shortcuts.install()
for path in shortcuts.CONF.rglob("*.yaml"):
    OmegaConf.load(path)
with initialize_config_dir(str(shortcuts.CONF), version_base="1.3"):
    loader = GlobalHydra.instance().config_loader()
    for choices in (["seed=1"], ["data=text", "model=mlp"], ["model=mlp"]):
        for mode in (RunMode.RUN, RunMode.MULTIRUN):
            loader.load_configuration("train", choices, mode)
# a collection in a child would write to, and so copy, the memory that it shares with the server: half a second
gc.collect()
gc.freeze()
