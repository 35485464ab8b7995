"""The sections of a report that compare several runs or checkpoints, the answer first."""

import math
from collections.abc import Sequence

from makemore.inference.evaluation import NLL_HEADINGS
from makemore.inference.mixing import difference_of_texts
from makemore.report.nll_words import counting_number, difference
from makemore.report.page import Headline, Section
from makemore.report.run_charts import MAX_RUNS, comparison_chart
from makemore.report.run_data import RunData
from makemore.report.run_page import nll_table


def comparison_sections(names: Sequence[str], runs: Sequence[RunData]) -> list[Section]:
    """Return which of several runs is the best and by how much, their NLLs, the best first, and their curves.

    Args:
        names: of the runs.
        runs: two or more.
    """
    ordered = sorted(zip(names, runs, strict=True), key=lambda pair: pair[1].objective)
    rows = [[name, *cells] for name, data in ordered for cells in data.nll_rows]
    table = nll_table(["run", "weights", *NLL_HEADINGS], rows) if rows else None
    chart = comparison_chart([(name, data.curves) for name, data in ordered[:MAX_RUNS]], len(ordered))
    elements = [element for element in (table, chart) if element is not None]
    return [Section("", [_headline(ordered)]), *([Section("Comparison", elements)] if elements else [])]


def _headline(ordered: Sequence[tuple[str, RunData]]) -> Headline:
    """Return the best of runs, by how much, and how far it is from counting alone."""
    (first, best), (second, next_best) = ordered[:2]
    for name, data in ordered[1:]:
        if what := difference_of_texts(best.model, data.model):
            return Headline(f"{len(ordered)} runs, which cannot be compared: {first} and {name} {what}.")
    if math.isinf(best.objective):
        return Headline(f"{len(ordered)} runs: how well they predict is not known here.")
    nlls = next(iter(best.nlls.values()))
    split, which = ("val", "validation") if "val" in nlls else ("train", "training")
    lead = difference(best.objective, next_best.objective)
    numbers = [
        (f"{best.objective:.4f}", f"{which} NLL of the best, in nats a character"),
        (f"{next_best.objective:.4f}", f"that of the next, {second}"),
    ]
    if best.reference is not None:
        numbers.append(counting_number(best.objective, best.reference.nlls[split].nats))
    sentence = f"The best of {len(ordered)} runs is {first}: {best.objective:.4f} nats a character, {lead} {second}."
    return Headline(sentence, [*numbers, (f"{len(ordered)}", "runs")])
