"""How much each swept key mattered: its importance to a random forest, and the spread of NLLs between its values."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from makemore.overrides import spelt
from makemore.pictures.axes import highest_shown, scale_of
from makemore.report.job_comparison import JobComparison, medians
from makemore.sweeps.records import Job

# the fewest jobs a key whose variance can be parted among the keys
_JOBS_A_KEY = 4


@dataclass(frozen=True)
class KeyEffect:
    """What a swept key did to the NLL.

    Args:
        best: the value of the best job.
        spread: the highest less the lowest median NLL of its values, nats a character.
        share: of the variance between jobs that a random forest explains; None without Optuna, or with too few jobs.
    """

    key: str
    best: Any
    spread: float
    share: float | None


def key_effects(comparison: JobComparison) -> list[KeyEffect]:
    """Return the effects of the keys that every finished or pruned job has and that differ, the greatest first.

    NLLs too high to be shown to scale count as the highest that is, as a diverged job would hide all else. Pruned jobs
    count with the NLL at which they were pruned: without them, a search would tell only of what its survivors share.
    """
    jobs = comparison.compared
    if not comparison.finite or len(jobs) < 2:
        return []
    found = {key: [spelt(job.differs[key]) for job in jobs if key in job.differs] for key in comparison.keys}
    keys = [key for key, values in found.items() if len(values) == len(jobs) and len(set(values)) > 1]
    top = highest_shown([job.nll for job in jobs])
    nlls = [min(job.nll, top) for job in jobs]
    shares = _shares(keys, jobs, nlls)
    effects = []
    for key in keys:
        scale = scale_of(key, [job.differs[key] for job in jobs])
        at = medians((scale.position(job.differs[key]), nll) for job, nll in zip(jobs, nlls, strict=True)).values()
        effects.append(KeyEffect(key, jobs[0].differs[key], max(at) - min(at), shares.get(key)))
    return sorted(effects, key=lambda effect: (-(effect.share or 0), -effect.spread))


def _shares(keys: Sequence[str], jobs: Sequence[Job], nlls: Sequence[float]) -> dict[str, float]:
    """Return each key's share of the variance that a random forest explains; empty where it cannot be computed.

    It is the mean decrease in impurity (Breiman 2001), by Optuna and scikit-learn, which a report does not need.
    """
    if len(keys) < 2 or len(jobs) < _JOBS_A_KEY * len(keys) or min(nlls) == max(nlls):
        return {}
    with warnings.catch_warnings():
        # of what Optuna 2 imports, and of what it has called "experimental" since
        warnings.simplefilter("ignore")
        try:
            import optuna
            import sklearn  # noqa: F401
        except ImportError:
            return {}
        return _importances(optuna, keys, jobs, nlls)


def _importances(
    optuna: ModuleType, keys: Sequence[str], jobs: Sequence[Job], nlls: Sequence[float]
) -> dict[str, float]:
    """Return the importances of keys from a study of the jobs."""
    kinds = optuna.distributions
    real = getattr(kinds, "FloatDistribution", None) or kinds.UniformDistribution
    values: dict[str, list[Any]] = {}
    distributions: dict[str, Any] = {}
    for key in keys:
        scale = scale_of(key, [job.differs[key] for job in jobs])
        if scale.kind == "category":
            values[key] = [str(spelt(job.differs[key])) for job in jobs]
            distributions[key] = kinds.CategoricalDistribution(list(map(str, scale.values)))
        else:
            # a forest splits by order alone, so the places of the values serve
            values[key] = [float(scale.index(job.differs[key])) for job in jobs]
            distributions[key] = real(0.0, float(len(scale.values) - 1))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study()
    rows = ({key: values[key][place] for key in keys} for place in range(len(jobs)))
    for params, nll in zip(rows, nlls, strict=True):
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=nll))
    # fANOVA of Optuna 2 fails with recent scikit-learn
    forest = optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=0)
    shares = dict(optuna.importance.get_param_importances(study, evaluator=forest))
    optuna.logging.set_verbosity(verbosity)
    return shares
