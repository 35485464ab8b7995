"""Compare the lessons' figures with ours, and write them as docs/lessons.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Value = str | list[float]


@dataclass(frozen=True)
class Figure:
    """A figure of a lesson and ours.

    Args:
        lesson: the lessons that print it, such as "L0 L3".
        what: its name in the table.
        theirs: the lesson's.
        ours: the result of the command.
        within: the largest difference that counts as the same; text must be equal.
        command: the command that gives ours.
    """

    lesson: str
    what: str
    theirs: Value
    ours: Value
    within: float
    command: str

    @property
    def agrees(self) -> bool:
        """Whether ours is the lesson's, within the tolerance."""
        if isinstance(self.theirs, str) or isinstance(self.ours, str):
            return self.theirs == self.ours
        return len(self.theirs) == len(self.ours) and all(
            a == b or abs(a - b) <= self.within for a, b in zip(self.theirs, self.ours, strict=True)
        )


def markdown(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, a row each."""
    rows = [
        f"| {figure.lesson} | {figure.what} | {_show(figure.theirs, figure.within)} "
        f"| {_show(figure.ours, figure.within)} | {_show_within(figure)} | `{figure.command}` |"
        for figure in figures
    ]
    return "\n".join(
        ["| lesson | figure | theirs | ours | within | command |", "| --- | --- | --- | --- | --- | --- |", *rows]
    )


def _show(value: Value, within: float) -> str:
    if isinstance(value, str):
        return value.replace("|", "\\|")
    digits = 0 if within == 0 else max(2, -math.floor(math.log10(within)) + 1)
    return ", ".join(f"{number:,.{digits}f}" for number in value)


def _show_within(figure: Figure) -> str:
    agreement = "" if figure.agrees else " **no**"
    return ("equal" if figure.within == 0 else f"{figure.within:g}") + agreement


def page(figures: Sequence[Figure]) -> str:
    """Return the content of docs/lessons.md."""
    return f"""# The lessons' figures, and ours

Written by `python scripts/lessons.py`, which runs every command below; `train.py` and `score.py` stand for
`python scripts/train.py` and `python scripts/score.py ckpt_path=...` with the checkpoint that training prints.
"Within" is the largest difference that counts as the same. Where the lesson had no seed that is 0.03 nats; for runs
of ten steps, which depend most on the initial weights, it is two standard deviations over 200 initial draws.

L0 and L3 count bigrams and train the neural bigram, L1 trains it with an L2 penalty, L4 compares both and samples from
them, L2 trains the context-window MLP of [Bengio et al. 2003](https://www.jmlr.org/papers/v3/bengio03a.html). All five
follow Andrej Karpathy's [makemore](https://github.com/karpathy/makemore).

{markdown(figures)}

## The learning-rate range test (L2)

`python scripts/train.py experiment=lessons/lr_range data=makemore` ends with this picture. As in the lesson the loss
falls until a rate of about 10^-1, which is suggested, and later rises.

![Loss against learning rate, and against its exponent](lr_range.png)
"""
