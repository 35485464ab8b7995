"""Asynchronous successive halving: which members of a sweep's groups go on (ASHA, Li et al. 2020, section 3).

Members are compared at rungs, by their validation NLL there with that of all members of the sweep that have reached
the rung so far, in whichever process: the best 1/eta go on to the next rung, the others are pruned. Each group writes
what it has decided at a rung into a file of its own, whole and once, which all others read. What was decided is kept,
so that a resumed sweep prunes the same members.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from makemore.errors import UserError, one_of, whole_number
from makemore.system.files import replacing

# of the config, and of the files
METRIC = "val/nll"
_COLUMNS = ["job", METRIC, "goes_on"]


def best_share(nlls: Mapping[str, float], eta: int) -> set[str]:
    """Return the names of the best 1/eta, rounded up, by NLL; of equal ones the first by name; NaN is the worst."""
    ordered = sorted(nlls, key=lambda name: (math.inf if math.isnan(nlls[name]) else nlls[name], name))
    return set(ordered[: math.ceil(len(nlls) / eta)])


def check_options(options: DictConfig) -> None:
    """Raise `UserError` where a value of `hydra.launcher.halving` is out of range."""
    if options.first is not None:
        whole_number("hydra.launcher.halving.first", options.first, at_least=1)
    whole_number("hydra.launcher.halving.eta", options.eta, at_least=2)
    one_of("hydra.launcher.halving.metric", options.metric, (METRIC,))


@dataclass(frozen=True)
class Halving:
    """The rungs of a sweep, at `first` * `eta` ** k optimiser steps."""

    first: int
    eta: int
    directory: Path  # of what was decided

    def rung(self, step: int, every: int) -> int | None:
        """Return the steps of the rung at a validation, one of each `every` steps, if it is the rung's first.

        Of several rungs since the validation before it is the last.
        """
        rung = None
        steps = self.first
        while steps <= step:
            rung = steps
            steps *= self.eta
        return rung if rung is not None and rung > step - every else None

    def decided(self, rung: int) -> dict[str, bool]:
        """Return whether members go on, by the names of their jobs, as far as that is decided."""
        return {name: goes_on for name, (_, goes_on) in self._read(rung).items()}

    def decide(self, rung: int, nlls: Mapping[str, float]) -> dict[str, bool]:
        """Decide which members go on, given the validation NLLs (nats a character) of some that are at a rung.

        What was decided before is kept. Returns all that is decided then.
        """
        before = self._read(rung)
        new = {name: nll for name, nll in nlls.items() if name not in before}
        if new:
            best = best_share({name: nll for name, (nll, _) in before.items()} | new, self.eta)
            content = io.StringIO()
            writer = csv.writer(content)
            writer.writerow(_COLUMNS)
            writer.writerows([name, nll, int(name in best)] for name, nll in new.items())
            # a job is decided on once, so that no other group has a file of this name
            with replacing(self.directory / f"{self._prefix(rung)}{min(new)}.csv") as file:
                file.write(content.getvalue().encode())
            before |= {name: (nll, name in best) for name, nll in new.items()}
        return {name: goes_on for name, (_, goes_on) in before.items()}

    def _read(self, rung: int) -> dict[str, tuple[float, bool]]:
        """Return the validation NLL at a rung, and whether the job goes on, by its name."""
        found = {}
        for path in sorted(self.directory.glob(f"{self._prefix(rung)}*.csv")):
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                found.update({row["job"]: (float(row[METRIC]), bool(int(row["goes_on"]))) for row in rows})
            except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
                raise UserError(f"{path}: cannot be read ({error}); delete it to compare its members anew") from error
        return found

    def _prefix(self, rung: int) -> str:
        return f"{rung:08}-"


def halving_of(hydra: DictConfig) -> Halving | None:
    """Return the halving that Hydra's part of a config asks for; None for none, or of a launcher without it."""
    options = hydra.launcher.get("halving")
    if options is None or options.first is None:
        return None
    return Halving(options.first, options.eta, Path(hydra.sweep.dir).absolute() / "rungs")
