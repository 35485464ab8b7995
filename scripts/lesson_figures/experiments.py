"""Run the lessons' experiments and pair every figure that the lessons print with ours."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose

from lesson_figures.comparison import Figure
from makemore.data.options import SPLITS
from makemore.data.text import read_text
from makemore.inference.scoring import score
from makemore.inference.trained_model import TrainedModel, load
from makemore.models.ngram import NGram
from makemore.pictures.curves import suggested_rate
from makemore.runs.outcome import TrainingResult
from makemore.runs.train import train
from makemore.system.hydra_release import composing

# The tolerance for lessons that ran without a seed, in nats a character ...
UNSEEDED = 0.03
# ... and for those of ten steps by lr: two standard deviations over 200 initial draws.
UNSEEDED_TEN_STEPS = {1: 0.15, 10: 0.08, 100: 0.02}

L1_TRACE = [
    3.7686186,
    3.3788068,
    3.1610909,
    3.0271859,
    2.9344840,
    2.8672315,
    2.8166542,
    2.7771466,
    2.7452538,
    2.7188306,
]
L4_TRACE = [
    3.7589533,
    3.3711007,
    3.1540432,
    3.0203738,
    2.9277112,
    2.8604021,
    2.8097291,
    2.7701023,
    2.7380729,
    2.7114966,
]
MLP_TRACE = [17.769712, 13.656403, 11.298769, 9.452457, 7.984262, 6.891321, 6.100014, 5.452036, 4.898152, 4.414664]
COUNT_NAMES = (
    "mor axx minaymoryles kondlaisah anchshizarie odaren iaddash h jhinatien egushl h br a jayn ilemannariaenien be f "
    "akiinela trttanakeroruceyaaxatona lamoynayrkiedengin"
)
# the 16th name is empty
UNIFORM_NAMES = (
    "qvsaayxbqrqmyqwuznivanukotdjvdhd qnoymtzduqkatdetkpfjdgigvlejfkrsqlwnirghhzwlu idcx cekmzucjnjoeovjv"
    "rggqrjr cfbhabkslpokc xtxwbpmknuusxdgzfexhwqpldpdnwzvkyxsqjforqqpfxstwkfoufhvwfhmsuyyotvcvvqpfcbydjc"
    "ouhkajkhqnnpqmmllaordqy gszpw zlgijinangzzuulsyvqrufuawavsdbnwvlmrypvgrsfgpshgnmwafqmsjdvbhngvoiigxh"
    "kwdltrdkwnagzyknqv lfstdqigvncdoidetsukgdp cfpjsxeqjcsmjwguzes woflfjxflylgbegpjdpovdtw dlzysqtrbhxh"
    "cdneiuum xtyslfbmaboaanyjpojuujflcsaucqcgtjmlzqtbaisvxrtgupkppigxudejdzsroqeigovuxmvt jlxfolkozci tk"
    "hdivkdifaxcevlpktkwwvuxlymtwylgpzauwdvxfvbooflddphmjeomjgjcqeqwt  wlxclcjbm quuyijtnzmycshclormjyrer"
    "qslomdrlbuwqnlmitbrmqhtbdwbyvlsmwnborwcdhjotezwnsxuvffvinrmedelubhdfgtavxqfgmnyqrygyevxaapbjtnwfnwew"
    "qxerdytttvfo iauarz tynoqkyp"
)
START_ROW = (
    "0 4410 1306 1542 1690 1531 417 669 874 591 2422 2963 1572 2538 "
    "1146 394 515 92 1639 2055 1308 78 376 307 134 535 929"
)
MOST_COMMON = "n. 6763, a. 6640, an 5438, .a 4410, e. 3983, ar 3264, el 3248, ri 3033, na 2977, .k 2963"


@dataclass(frozen=True)
class LessonRun:
    """A completed run of a lesson's experiment.

    Args:
        result: the result of training.
        model: the model of its checkpoint.
        losses: `train/loss` of each logged step, nats a character, penalty included.
        command: the equivalent command, as docs/lessons.md shows it.
    """

    result: TrainingResult
    model: TrainedModel
    losses: list[float]
    command: str

    def nll(self, split: str) -> float:
        """Return the final NLL of a split, nats a character."""
        return self.result.nlls[split].nats

    def log_likelihood(self, *words: str) -> float:
        """Return the log-likelihood of words, in nats."""
        return sum(word.log_likelihood for word in score(self.model.network, self.model.vocabulary, words))

    @property
    def names(self) -> str:
        """The sampled names in one line."""
        return " ".join(self.result.names)


class Lessons:
    """The lessons' experiments on one text.

    Args:
        data: the overrides that choose the text.
        directory: where the runs are written.
    """

    def __init__(self, data: Sequence[str], directory: Path) -> None:
        self.data = data
        self.directory = directory
        self.runs = 0

    def run(self, experiment: str, *overrides: str) -> LessonRun:
        """Train `experiment=lessons/EXPERIMENT` with overrides, as scripts/train.py does."""
        arguments = [f"experiment=lessons/{experiment}", *self.data, *overrides]
        self.runs += 1
        run_dir = self.directory / f"{self.runs:02d}-{experiment}"
        run_dir.mkdir(parents=True)
        with composing():
            result = train(compose("train", arguments), run_dir)
        with (run_dir / "metrics.csv").open(newline="") as file:
            losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
        return LessonRun(result, load(result.weights.checkpoint), losses, " ".join(["train.py", *arguments]))

    def counting(self) -> list[Figure]:
        """Return the figures of counting bigrams (L0, L3, L4)."""
        run, smoothed = self.run("counts"), self.run("counts", "model.fake_count=1")
        uniform = self.run("counts", "model.order=0")
        separate = self.run("counts", "data.boundary=separate", "data.boundary_at=last")
        assert isinstance(run.model.network, NGram)
        labels, counted = run.model.vocabulary.labels, run.model.network.most_common()
        common = ", ".join(f"{labels[first]}{labels[second]} {count}" for (first, second), count in counted[:10])
        after_start = {second: count for (first, second), count in counted if first == run.model.vocabulary.start}
        row = " ".join(str(after_start.get(token, 0)) for token in range(run.model.vocabulary.size))

        def word(lesson: str, what: str, theirs: float, model: LessonRun, ours: list[float], words: str) -> Figure:
            return Figure(lesson, what, [theirs], ours, 5e-5, f"{model.command}; score.py words=[{words}]")

        return [
            Figure("L0 L3 L4", "bigrams", [228146], [run.result.nlls["train"].characters], 0, run.command),
            Figure("L0 L4", "ten most common", MOST_COMMON, common, 0, run.command),
            Figure("L0", "row of `.`", START_ROW, row, 0, run.command),
            # the lessons add 228,146 terms in float32, one by one; the exact values are -559873.59 and 2.45401
            Figure(
                "L3 L4", "log-likelihood of the file", [-559891.75], [-run.result.nlls["train"].total], 20, run.command
            ),
            Figure("L0 L3 L4", "NLL of the whole file", [2.4541], [run.nll("train")], 1e-4, run.command),
            Figure(
                "L0 L3", "tokens with `<S>` and `<E>`", [28], [separate.model.vocabulary.size], 0, separate.command
            ),
            word(
                "L0",
                "log-likelihood of `emma`, `olivia`, `ava`",
                -38.7856,
                run,
                [run.log_likelihood("emma", "olivia", "ava")],
                "emma,olivia,ava",
            ),
            word("L0", "NLL of `anubhav`", 3.1186, run, run.model.nll(["anubhav"]), "anubhav"),
            word("L0", "NLL of `anubhavm`", math.inf, run, run.model.nll(["anubhavm"]), "anubhavm"),
            word("L0", "the same with one fake count", 3.5526, smoothed, smoothed.model.nll(["anubhavm"]), "anubhavm"),
            word("L4", "NLL of `andrejq`", math.inf, run, run.model.nll(["andrejq"]), "andrejq"),
            word("L4", "the same with one fake count", 3.4834, smoothed, smoothed.model.nll(["andrejq"]), "andrejq"),
            word("L4", "its log-likelihood", -27.8672, smoothed, [smoothed.log_likelihood("andrejq")], "andrejq"),
            Figure("L4", "twenty names from the counts", COUNT_NAMES, run.names, 0, run.command),
            Figure(
                "L4", "twenty names from the uniform distribution", UNIFORM_NAMES, uniform.names, 0, uniform.command
            ),
        ]

    def bigram(self) -> list[Figure]:
        """Return the figures of the neural bigram (L0, L1, L4)."""
        penalised, plain, split = self.run("bigram"), self.run("bigram_long"), self.run("bigram_split")
        figures = [
            Figure("L1", "ten losses with L2 0.01", L1_TRACE, penalised.losses[:10], 1e-5, penalised.command),
            Figure("L1", "loss at step 53", [2.5073802], penalised.losses[53:54], 1e-5, penalised.command),
            Figure("L4", "ten losses without L2", L4_TRACE, plain.losses[:10], 1e-5, plain.command),
            Figure("L4", "loss at step 53", [2.4933631], plain.losses[53:54], 1e-5, plain.command),
            Figure(
                "L4", "five names after 500 steps", " ".join(COUNT_NAMES.split()[:5]), plain.names, 0, plain.command
            ),
        ]
        run = self.run("bigram", "model.l2=0", "optimizer.lr=10")
        figures.append(Figure("L0", "last loss of 100 steps, lr 10", [2.57], run.losses[-1:], UNSEEDED, run.command))
        for (lr, within), theirs in zip(UNSEEDED_TEN_STEPS.items(), (3.68, 3.27, 2.60), strict=True):
            run = self.run("bigram", "model.l2=0", f"optimizer.lr={lr}", "trainer.max_steps=10")
            what = f"last loss of ten steps, lr {lr}"
            figures.append(Figure("L0", what, [theirs], run.losses[-1:], within, run.command))
        sizes = [float(split.result.nlls[name].characters) for name in SPLITS]
        figures.append(Figure("L0", "examples in train, val, test", [182516, 22815, 22815], sizes, 0, split.command))
        for name, theirs in zip(SPLITS, (2.5629, 2.5745, 2.5639), strict=True):
            figures.append(Figure("L0", f"NLL of {name}", [theirs], [split.nll(name)], UNSEEDED, split.command))
        for l2, theirs in ((0.1, 2.6531), (1, 2.8925), (0.001, 2.5767), (0.0001, 2.5635)):
            run = self.run("bigram_split", f"model.l2={l2}")
            figures.append(Figure("L0", f"last loss with L2 {l2}", [theirs], run.losses[-1:], UNSEEDED, run.command))
        return figures

    def first_word(self) -> list[Figure]:
        """Return the figure of the first word (L1), which is that of data/names.txt too."""
        run = self.run("bigram", "model.l2=0", "data.max_lines=1", "trainer.max_steps=1")
        return [Figure("L1 L4", "first loss on `emma`", [3.7693], run.losses[:1], 5e-5, run.command)]

    def first_words(self) -> list[Figure]:
        """Return the figures of the first five words (L2), which are those of data/names.txt too."""
        run = self.run("mlp_first_words")
        return [
            Figure("L2", "examples of five words", [32], [run.result.nlls["train"].characters], 0, run.command),
            Figure("L2", "ten losses on them", MLP_TRACE, run.losses, 1e-4, run.command),
        ]

    def whole_file(self) -> list[Figure]:
        """Return the figures that need the lessons' own file: its lines (L0) and the MLP trained on it (L2)."""
        run, ramp = self.run("mlp"), self.run("lr_range")
        lengths = [float(len(line)) for path in run.model.options.paths.values() for line in read_text(path).lines()]
        rates = [10 ** (-3 + 3 * step / (len(ramp.losses) - 1)) for step in range(len(ramp.losses))]
        suggested = suggested_rate(rates, ramp.losses)
        assert suggested is not None
        return [
            Figure(
                "L0 L4",
                "words; shortest; longest",
                [32033, 2, 15],
                [float(len(lengths)), min(lengths), max(lengths)],
                0,
                run.command,
            ),
            Figure(
                "L2",
                "exponent of the lr beyond which nothing is gained",
                [-1],
                [math.log10(suggested)],
                0.25,
                ramp.command,
            ),
            Figure(
                "L2", "NLL of the whole file after 30,000 steps", [2.3457], [run.nll("train")], UNSEEDED, run.command
            ),
        ]
