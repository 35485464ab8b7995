"""Where the releases of Hydra and OmegaConf differ: 1.3 with 2.3, which are installed, and 1.4 with 2.4, to come.

Hosted CI runs the tests with the candidates of 1.4. The requirements in pyproject.toml decide; what other modules use
of Hydra is written for both.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from makemore.system.files import CONF

_IS_1_3 = hydra.__version__.startswith("1.3.")
# 1.3 is to be told whose defaults to use; 1.4 has its own alone
_DEFAULTS: dict[str, Any] = {"version_base": "1.3"} if _IS_1_3 else {}
# 1.4 is to be told what configs may name: anything, as they are the user's own; a saved one is checked before
_ALLOWED: Any = None if _IS_1_3 else hydra.utils.UNSAFE_DISABLE_EXECUTION_CHECKS  # type: ignore[attr-defined]
MAIN_ARGUMENTS = _DEFAULTS if _IS_1_3 else {"execution_whitelist": _ALLOWED}
INSTANTIATE_ARGUMENTS: dict[str, Any] = {} if _IS_1_3 else {"_execution_whitelist_": _ALLOWED}


def args_parser() -> ArgumentParser:
    """Return Hydra's parser of a command line.

    The help of one of its options is not text, which Python 3.14 checks; 1.3 does not provide for that, 1.4 does.
    """
    check: Any = getattr(ArgumentParser, "_check_help", None)
    if check is None:
        return get_args_parser()
    ArgumentParser._check_help = lambda *_: None  # type: ignore[attr-defined]
    try:
        return get_args_parser()
    finally:
        ArgumentParser._check_help = check  # type: ignore[attr-defined]


# what `hydra.main` parses by
sys.modules["hydra.main"].get_args_parser = args_parser  # type: ignore[attr-defined]


def composing() -> hydra.initialize_config_dir:
    """Return a context in which `hydra.compose` composes the configs of conf/."""
    return hydra.initialize_config_dir(str(CONF), **_DEFAULTS)


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Register a resolver, in the place of one that has its name."""
    # before 2.4 `register_resolver` was another function
    register: Any = OmegaConf.register_new_resolver if _IS_1_3 else OmegaConf.register_resolver
    register(name, resolver, replace=True)
