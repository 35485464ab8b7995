"""What Lightning expects of a data module's arguments: `hparams`, `load_from_checkpoint`, `repr`."""

from pathlib import Path
from typing import Any, Self

import lightning as L

from makemore.data.options import RECORD
from makemore.errors import UserError, first_line
from makemore.system.files import read_sealed


class KeptArguments(L.LightningDataModule):
    """A data module whose arguments are plain values, all of which it has given to `save_hyperparameters`."""

    @property
    def hparams_initial(self) -> Any:
        """The arguments as loggers get them, beside those of the model."""
        return {f"data/{name}": value for name, value in super().hparams_initial.items()}

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """Make the data of a checkpoint; `arguments` replace those it has.

        A checkpoint of a run has the text, its splits and the vocabulary, and not the others.
        """
        try:
            content, _ = read_sealed(Path(checkpoint_path))
            record = content[RECORD]
            kept = content.get(cls.CHECKPOINT_HYPER_PARAMS_KEY)
            kept = kept or record["data"]["options"] | {"vocabulary": record["vocabulary"]}
        except Exception as error:  # the unpickler may raise anything
            what = f"{checkpoint_path}: is not a checkpoint of this project ({first_line(error)})"
            raise UserError(f"{what}; name a file, as in RUN_DIR/checkpoints") from error
        return cls(**(kept | arguments))

    def __repr__(self) -> str:
        """Return the arguments."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.hparams.items())})"
