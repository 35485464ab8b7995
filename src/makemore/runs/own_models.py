"""Models of a user's own: the modules that conf/model of the working directory names."""

import sys
from importlib import import_module

from omegaconf import OmegaConf

from makemore.errors import UserError, first_line
from makemore.runs.saved_config import is_shipped, trust
from makemore.system.files import own_conf


def import_own_models() -> None:
    """Import these modules, which register their networks, so that checkpoints and saved configs may name them.

    A file of the group `model` with an `architecture` names its module by `_target_`; that may stand beside conf/, as
    other targets may. `UserError`: it cannot be imported.
    """
    own = own_conf()
    if own is None:
        return
    if str(own.parent) not in sys.path:
        # the last, so that it hides no module of a package
        sys.path.append(str(own.parent))
    for path in sorted((own / "model").rglob("*.yaml")):
        try:
            config = OmegaConf.load(path)
            # in a file for the package _global_ it is one level deeper
            model = OmegaConf.select(config, "model", default=config)
            module = str(OmegaConf.select(model, "_target_")).rpartition(".")[0]
            # other files are of another project, or name no module
            if "architecture" in model and module and not is_shipped(module):
                import_module(module)
                trust(module)
        except Exception as error:  # whatever a module raises, or a file that is no config
            mend = "mend it, or the module that its _target_ names"
            raise UserError(f"{path}: cannot be used: {first_line(error)}; {mend}") from error
