"""The sections of a report on a run or a checkpoint."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from makemore.errors import UserError
from makemore.inference.evaluation import NLL_HEADINGS, nll_rows
from makemore.inference.likelihood import NLL
from makemore.models.mixture import Mixture
from makemore.models.network import Counted
from makemore.overrides import command, hydra_override, shown
from makemore.pictures.gallery import pictures_of_model, pictures_of_training
from makemore.pictures.picture import Picture
from makemore.report.nll_words import counting_number, difference
from makemore.report.page import CommandList, DataTable, Element, FactTable, Headline, NameList, Paragraph, Section
from makemore.report.run_charts import training_chart
from makemore.report.run_data import RunData
from makemore.report.verdict import verdict
from makemore.runs.planned_numbers import AUTO, decay_for, rate_for
from makemore.system.console import visible

_NUM_SAMPLES = 20
# of which the share of unseen ones is
_MANY_SAMPLES = 500
_ACRONYMS = ("gru", "lstm", "mlp", "rnn")
# neither said nor worth saying of an optimiser or a schedule
_HIDDEN = ("_target_", "_partial_", "fused")


def pictures_of_run(data: RunData) -> Iterator[Picture]:
    """Yield the pictures of training, and those of the model where its text is there and it gives probabilities."""
    of_model = pictures_of_model(data.model, data.corpus) if data.corpus is not None and data.nlls else ()
    return chain(pictures_of_training(data.curves), of_model)


def run_sections(data: RunData, pictures: Sequence[Picture]) -> list[Section]:
    """Return the sections on a run or a checkpoint, of which `pictures` are, the answer first.

    Empty ones are left out. The picture of the loss is left out too, as its chart is there.
    """
    chart = training_chart(data.name, data.curves, data.reference)
    problems = [Paragraph(problem, warning=True) for problem in data.problems]
    config = [(key, shown(value)) for key, value in data.config.items() if key.rpartition(".")[2] not in _HIDDEN[:2]]
    sections = [
        Section("", [headline(data), *problems, *_samples(data), *([] if chart is None else [chart])]),
        Section("NLL of each split", _nlls(data)),
        Section(
            "What was run", [FactTable(_model(data)), *([FactTable(config, "The whole config")] if config else [])]
        ),
        Section("Text", _text(data)),
        Section("Pictures", [picture for picture in pictures if picture.name != "loss"]),
        Section("Commands", [CommandList(_commands(data))]),
    ]
    return [section for section in sections if section.elements]


def headline(data: RunData) -> Headline:
    """Return what was trained, how good it is, and whether more training would help."""
    name = data.architecture.upper() if data.architecture in _ACRONYMS else data.architecture.replace("_", " ")
    counted, mixed = isinstance(data.model.network, Counted), isinstance(data.model.network, Mixture)
    trained = " of counts" if counted else "" if mixed else f", trained for {_steps(data)},"
    files = " and ".join(Path(path).name for path in data.model.options.paths.values())
    lines = "" if data.corpus is None else f" ({len(data.corpus.lengths):,} lines)"
    numbers = [(f"{parameters_of(data):,}", "parameters")]
    if data.seconds is not None:
        numbers.append((f"{data.seconds:,.1f}", "seconds in training"))
    nlls = next(iter(data.nlls.values()), {})
    if not nlls or data.reference is None:
        sentence = f"The {name}{trained} on {files}{lines}: how well it predicts is not known here."
        return Headline(sentence.replace(", on", " on"), numbers)
    split = "val" if "val" in nlls else "train"
    which = "validation" if split == "val" else "training"
    nll, counting = nlls[split].nats, data.reference.nlls[split].nats
    better = difference(nll, counting)
    sentence = f"The {name}{trained} predicts {files}{lines} at {nll:.4f} nats a character, {better} counting alone."
    perplexity = f"as good as {nlls[split].perplexity:.2f} equally likely characters"
    numbers = [
        (f"{nll:.4f}", f"{which} NLL in nats a character: {perplexity}"),
        counting_number(nll, counting),
        *numbers,
    ]
    return Headline(sentence, numbers, _more_training(data, nlls))


def _steps(data: RunData) -> str:
    """Return the steps of training, and whose weights these are."""
    step, taken = data.model.step, data.taken
    if taken is None or taken == step:
        return f"{step:,} steps"
    best = data.model.path.name.startswith("best-")
    return f"{taken:,} steps and {'best' if best else 'taken'} at step {step:,}"


def _more_training(data: RunData, nlls: Mapping[str, NLL]) -> str:
    if isinstance(data.model.network, Counted):
        return "Counting takes no steps: more training would change nothing; another order, or more text, would."
    if isinstance(data.model.network, Mixture):
        return "A mixture is not trained: better parts would make it better."
    if data.taken is not None and not data.has_ended:
        planned = data.config.get("trainer.max_steps")
        of_planned = f" of {planned:,}" if isinstance(planned, int) and planned >= data.taken else ""
        state = "was pruned" if data.was_pruned else "has not ended"
        return f"It has made {data.taken:,}{of_planned} steps and {state}: resume it before it is judged."
    return verdict(data.curves, nlls)


def parameters_of(data: RunData) -> int:
    """Return the number of trained numbers."""
    return sum(parameter.numel() for parameter in data.model.network.parameters())


def _model(data: RunData) -> list[tuple[str, str]]:
    return [
        ("model", data.architecture),
        *_arguments(data),
        ("parameters", f"{parameters_of(data):,}"),
        *([] if isinstance(data.model.network, Counted | Mixture) else _training(data)),
        ("optimiser steps", f"{data.model.step:,}" if data.taken is None else f"{data.taken:,}"),
        *([] if data.seconds is None else [("seconds in training", f"{data.seconds:,.1f}")]),
        ("checkpoint", str(data.model.path)),
    ]


def _training(data: RunData) -> list[tuple[str, str]]:
    """Return the optimiser, the learning rate with its schedule, the batch size and the seed, as far as known."""
    config, rows = {**data.config, **_left_to_the_text(data)}, []
    for what, group in (("optimiser", "optimizer"), ("learning-rate schedule", "scheduler")):
        if target := config.get(f"{group}._target_"):
            found = {
                key.removeprefix(f"{group}."): value for key, value in config.items() if key.startswith(f"{group}.")
            }
            said = (
                f"{key} {shown(value)}"
                for key, value in found.items()
                if key not in (*_HIDDEN, "lr") and value not in (None, []) and "${" not in str(value)
            )
            rows.append((what, ", ".join([str(target).rpartition(".")[2], *said])))
    if "optimizer.lr" in config:
        rows.insert(1, ("learning rate", shown(config["optimizer.lr"])))
    if "data.batch_size" in config:
        unit = "lines" if data.model.network.reads == "lines" else "windows"
        size = config["data.batch_size"]
        rows.append(("batch size", f"all {unit}" if size is None else f"{shown(size)} {unit}"))
    return [*rows, *([("seed", shown(config["seed"]))] if "seed" in config else [])]


def _left_to_the_text(data: RunData) -> dict[str, str | None]:
    """Return what the text, where it is there, gives to the values of the optimiser that the config leaves to it."""
    if data.corpus is None:
        return {}
    tokens, found = data.corpus.size("train"), dict[str, float | None]()
    if data.config.get("optimizer.lr") == AUTO:
        found["optimizer.lr"] = rate_for(data.architecture, tokens)
    if data.config.get("optimizer.weight_decay") == AUTO:
        found["optimizer.weight_decay"] = decay_for(data.config["optimizer._target_"], tokens)
    return {key: None if number is None else f"{AUTO}, {number:g} for this text" for key, number in found.items()}


def _arguments(data: RunData) -> list[tuple[str, str]]:
    """Return the arguments of the network; of a mixture, its parts with their weights."""
    network = data.model.network
    if not isinstance(network, Mixture):
        return [(f"model.{key}", shown(value)) for key, value in data.arguments.items()]
    parts = zip(network.weights.tolist(), data.arguments["parts"], strict=True)
    return [
        (f"part {number}", f"{weight:.4f} {part['architecture']}, {shown(part['arguments'])}")
        for number, (weight, part) in enumerate(parts, 1)
    ]


def _text(data: RunData) -> list[Element]:
    model = data.model
    rows = [(f"sha256, {split}", digest) for split, digest in model.sha256.items()]
    if data.corpus is None:
        return [FactTable([*model.options.paths.items(), *rows])]
    now = data.corpus.sha256
    changes = [
        Paragraph(f"The {split} text has changed since training: its sha256 is {now[split]} now.", warning=True)
        for split, digest in model.sha256.items()
        if now[split] != digest
    ]
    return [*changes, *map(Paragraph, data.corpus.report()), FactTable(rows)]


def _nlls(data: RunData) -> list[Element]:
    if not data.nlls or data.reference is None:
        return []
    infinite = any(math.isinf(nll.nats) for nlls in data.nlls.values() for nll in nlls.values())
    note = "inf: the split contains what was never seen in training; model.fake_count=1 gives it a probability."
    rows = [*data.nll_rows, *(["Kneser-Ney", *cells] for cells in nll_rows(data.reference.nlls))]
    notes = [f"{data.reference}.", *([note] if infinite else [])]
    return [nll_table(["weights", *NLL_HEADINGS], rows), *map(Paragraph, notes)]


def nll_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> DataTable:
    """Return a table of NLLs with the number of characters at its end, so that a narrow page shows the NLL."""

    def ordered(cells: Sequence[str]) -> list[str]:
        return [*cells[:-4], *cells[-3:], cells[-4]]

    return DataTable(ordered(headings), list(map(ordered, rows)))


def _samples(data: RunData) -> list[Element]:
    try:
        names = data.model.sample(_NUM_SAMPLES)
        if data.corpus is None:
            return [NameList([(visible(name), None) for name in names], f"{len(names)} made-up items.")]
        # a model that has learnt little ends few of its items
        longest = 2 * int(data.corpus.lengths.max()) + 10
        many = data.model.sample(_MANY_SAMPLES, max_length=longest)
    except UserError as error:
        return [Paragraph(str(error), warning=True)]
    seen = data.model.seen()
    share = sum(name not in seen for name in many) / len(many)
    caption = f"Made-up items; those with a dot are not in the text, as are {share:.0%} of {len(many)}."
    return [NameList([(visible(name), name in seen) for name in names], caption)]


def _commands(data: RunData) -> list[tuple[str, str]]:
    """Return the commands for a run, with their descriptions; paths are relative to the present directory."""
    rows = []
    if data.overrides is not None and data.run_dir is not None:
        # a job of a sweep is repeated as a single run
        mode = ["hydra.mode=RUN"] if (data.run_dir / "job.json").exists() else []
        # a directory of that name is there already
        overrides = [each for each in data.overrides if not each.startswith("name=")]
        line = command("train", *overrides, *mode)
        rows.append(("Repeat the run, from the directory in which it was started:", line))
        resume = hydra_override("resume", data.run_dir)
        if not data.has_ended:
            rows.append(("Resume it:", command("train", resume)))
        elif data.taken is not None and _may_take_more(data):
            rows.append(("Resume it for more steps:", command("train", resume, f"trainer.max_steps={2 * data.taken}")))
    path = hydra_override("ckpt_path", data.model.path)
    return [
        *rows,
        ("Evaluate the exact NLL:", command("evaluate", path)),
        ("Sample these names, or more:", command("sample", path, f"num_samples={_NUM_SAMPLES}")),
        ("Score words:", command("score", path, "words=[anna]")),
    ]


def _may_take_more(data: RunData) -> bool:
    """Return whether a run took all its steps and would be the same run with more: nothing follows their number."""
    following = {"${trainer.max_steps}", AUTO} & {str(value) for value in data.config.values()}
    took_all = data.taken == data.config.get("trainer.max_steps")
    return took_all and not isinstance(data.model.network, Counted) and not following
