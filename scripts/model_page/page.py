"""The tables and the picture of docs/models.md, made of results."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from lesson_figures.comparison import with_table
from model_page.rows import ALL_TEXTS, MODELS, Result

# the highest NLL that the picture shows
_TOP = 2.2
_COLUMNS = ("model", "parameters", "seconds", "train", "val", "test", "mixed val", "mixed test")


def with_tables(page: str, results: Mapping[tuple[str, str], Result]) -> str:
    """Return the page with its tables, each between two comments, made of results."""
    parts = {text: _table(results, text) for text in ALL_TEXTS} | {"commands": _commands()}
    for name, table in parts.items():
        page = with_table(page, name, table)
    return page


def _table(results: Mapping[tuple[str, str], Result], text: str) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", "| --- " + "| ---: " * (len(_COLUMNS) - 1) + "|"]
    for model in MODELS:
        if (result := results.get((model, text))) is not None:
            nlls = (result.train, result.val, result.test, result.mixed_val, result.mixed_test)
            cells = [model, f"{result.parameters:,}" if result.parameters else "", f"{result.seconds:.1f}"]
            lines.append(f"| {' | '.join([*cells, *('' if nll is None else f'{nll:.4f}' for nll in nlls)])} |")
    return "\n".join(lines) if len(lines) > 2 else f"Not measured yet: `python scripts/models.py --text '{text}'`."


def _commands() -> str:
    return "\n".join(["```", *(f"python scripts/train.py {' '.join(line)}" for line in MODELS.values()), "```"])


def draw(results: Mapping[tuple[str, str], Result], path: Path) -> None:
    """Draw the validation NLL on the shipped text against the seconds in training, alone and mixed with counts."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    shown = [result for model in MODELS if (result := results.get((model, "shipped"))) is not None]
    for result in shown:
        seconds = max(result.seconds, 0.1)
        axes.plot(seconds, result.val, "o", color="tab:blue")
        # a record may be the row of a model
        alike = [other for other in shown if other.val == result.val]
        if result == alike[0]:
            label = ", ".join(other.model for other in alike)
            shown_at = result.mixed_val if result.val > _TOP and result.mixed_val is not None else result.val
            axes.annotate(label, (seconds, shown_at), textcoords="offset points", xytext=(5, 4), fontsize=8)
        if result.mixed_val is not None:
            axes.plot([seconds, seconds], [result.val, result.mixed_val], color="tab:gray", linewidth=0.5)
            axes.plot(seconds, result.mixed_val, "s", color="tab:orange", markersize=4)
    axes.plot([], [], "o", color="tab:blue", label="alone")
    axes.plot([], [], "s", color="tab:orange", label="mixed with Kneser-Ney")
    axes.set(xscale="log", xlabel="seconds in training", ylabel="validation NLL (nats a character)")
    axes.set_ylim(top=_TOP)
    # room for the last label
    axes.set_xlim(right=10 * max(result.seconds for result in shown))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
