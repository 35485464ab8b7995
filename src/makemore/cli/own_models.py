"""Models of a user's own: the modules that conf/model of the working directory names."""

import sys
from importlib import import_module

from omegaconf import OmegaConf

from makemore.errors import UserError, first_line
from makemore.files import own_conf
from makemore.runs.saved_config import is_shipped, trust


def import_own_models() -> None:
    """Import these modules, which register their networks, so that checkpoints and saved configs may name them.

    A file of the group `model` names its module by `_target_`; it may stand beside conf/, as other targets may.
    `UserError`: it cannot be imported.
    """
    own = own_conf()
    if own is None:
        return
    if str(own.parent) not in sys.path:
        # the last, so that it hides no module of a package
        sys.path.append(str(own.parent))
    for path in sorted((own / "model").rglob("*.yaml")):
        config = OmegaConf.load(path)
        # that of a file for the package _global_ is one level deeper
        target = OmegaConf.select(config, "_target_") or OmegaConf.select(config, "model._target_")
        module = str(target).rpartition(".")[0]
        if not module or is_shipped(module):
            continue
        try:
            import_module(module)
        except Exception as error:  # whatever a module raises
            what = f"_target_={target} cannot be imported: {first_line(error)}"
            raise UserError(f"{path}: {what}; mend the module, or take the file out of conf/model") from error
        trust(module)
