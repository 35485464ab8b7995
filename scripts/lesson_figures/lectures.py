"""The networks of the lectures' parts 2, 3 and 5, with the NLLs that the notebooks print (nn-zero-to-hero)."""

from dataclasses import dataclass

from lesson_figures.comparison import Figure
from lesson_figures.experiments import Lessons

# nats a character: the lectures draw their minibatches without a seed
_UNSEEDED = 0.01


@dataclass(frozen=True)
class Network:
    """A network of a lecture.

    Args:
        experiment: its file in conf/experiment/lessons.
        what: its name in the table.
        parameters: how many it has; None where the lecture gives thousands, or has given them before.
        nlls: of train and val, nats a character.
        overrides: of the command.
    """

    experiment: str
    what: str
    parameters: int | None
    nlls: tuple[float, float]
    overrides: tuple[str, ...] = ()


# a third of the time, where there is no batch norm
_COMPILED = ("compile=true",)
NETWORKS = {
    "part 2": [Network("part2_mlp", "all weights from N(0, 1)", 11_897, (2.126, 2.170))],
    "part 3": [
        Network("part2_mlp", "all weights from N(0, 1)", 11_897, (2.1245, 2.1682)),
        Network("part3_small_output", "output weights times 0.01, no output bias", None, (2.07, 2.13), _COMPILED),
        Network("part3_small_hidden", "hidden weights times 0.2, bias times 0.01", None, (2.0356, 2.1027), _COMPILED),
        Network("part3_kaiming", "hidden weights times (5/3) / sqrt(fan-in)", None, (2.0377, 2.1070), _COMPILED),
        Network("part3_batch_norm", "batch norm before tanh", 12_097, (2.0668, 2.1048)),
        Network("part3_deep", "six linear layers with batch norm, 1,000 steps", 47_024, (2.4003, 2.3982)),
    ],
    "part 5": [
        Network("part5_context3", "context 3, batch norm", 12_097, (2.058, 2.105)),
        Network("part5_context8", "context 8", None, (1.918, 2.027)),
        Network("part5_wavenet", "pairs fused, batch norm over batch and position", None, (1.912, 2.022)),
        Network("part5_wavenet_large", "the same, E 24, H 128", 76_579, (1.769, 1.9937)),
    ],
}
# on the lectures' split of the lessons' file; part 2 has another order of its lines
_EXAMPLES = [182_625.0, 22_655.0, 22_866.0]


def figures_of(lessons: Lessons, part: str) -> list[Figure]:
    """Train the networks of a part, and return its figures."""
    figures = []
    for network in NETWORKS[part]:
        run = lessons.run(network.experiment, *network.overrides)
        ours = [run.nll("train"), run.nll("val")]
        what = f"NLL of train and val: {network.what}"
        figures.append(Figure(part, what, list(network.nlls), ours, _UNSEEDED, run.command))
        if network.parameters is not None:
            count = sum(parameter.numel() for parameter in run.model.network.parameters())
            figures.append(Figure(part, "its parameters", [float(network.parameters)], [float(count)], 0, run.command))
    if part == "part 3":
        sizes = [float(nll.characters) for nll in run.result.nlls.values()]
        figures.append(Figure(part, "examples in train, val, test", _EXAMPLES, sizes, 0, run.command))
    return figures
