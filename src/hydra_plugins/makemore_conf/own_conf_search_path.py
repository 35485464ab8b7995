"""Search conf/ of the working directory before this project's, so that a user's files are found, and win."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnConfSearchPath(SearchPathPlugin):
    """Acts where the configs are this project's; Hydra imports every plugin, in other applications too."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put conf/ of the working directory before the project's, where there is another one."""
        from makemore.system.files import CONF, own_conf

        is_ours = any(each.provider == "main" and each.path == str(CONF) for each in search_path.get_path())
        if is_ours and (own := own_conf()) is not None:
            search_path.prepend(provider="makemore", path=f"file://{own}", anchor="main")
