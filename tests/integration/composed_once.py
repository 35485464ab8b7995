"""What a command does before its work, done once in the server of trials.py, as it imports this module.

Each forked process inherits what YAML was parsed to, the plugins of Hydra, the tables of its parsers, and the files of
the configs that most tests compose: nearly all of the time that composing takes.
"""

import gc

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

import shortcuts
from makemore.system.files import CONF
from makemore.system.hydra_release import composing

shortcuts.install()
for path in CONF.rglob("*.yaml"):
    OmegaConf.load(path)
with composing():
    loader = GlobalHydra.instance().config_loader()
    for choices in (["seed=1"], ["data=text", "model=mlp"], ["model=mlp"]):
        for mode in (RunMode.RUN, RunMode.MULTIRUN):
            loader.load_configuration("train", choices, mode)
# a collection in a child would write to, and so copy, the memory that it shares with the server: half a second
gc.collect()
gc.freeze()
