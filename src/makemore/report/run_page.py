"""The sections of a report on a run or a checkpoint."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

from makemore.console import visible
from makemore.errors import UserError
from makemore.inference.evaluation import NLL_HEADINGS, nll_rows
from makemore.models.mixture import Mixture
from makemore.models.network import Counted
from makemore.overrides import command, hydra_override, shown
from makemore.pictures.gallery import pictures_of_model, pictures_of_training
from makemore.pictures.picture import Picture
from makemore.report.page import CommandList, DataTable, Element, FactTable, NameList, Paragraph, Section
from makemore.report.run_charts import training_chart
from makemore.report.run_data import RunData

_NUM_SAMPLES = 40


def pictures_of_run(data: RunData) -> Iterator[Picture]:
    """Yield the pictures of training, and those of the model where its text is there and it gives probabilities."""
    of_model = pictures_of_model(data.model, data.corpus) if data.corpus is not None and data.nlls else ()
    return chain(pictures_of_training(data.curves), of_model)


def run_sections(data: RunData, pictures: Sequence[Picture]) -> list[Section]:
    """Return the sections on a run or a checkpoint, of which `pictures` are; empty ones are left out."""
    chart = training_chart(data.name, data.curves, data.reference)
    sections = [
        Section("Model", [*(Paragraph(problem, warning=True) for problem in data.problems), *_model(data)]),
        Section("Text", _text(data)),
        Section("NLL", _nlls(data)),
        Section("Training curves", [] if chart is None else [chart]),
        Section("Samples", _samples(data)),
        Section("Pictures", pictures),
        Section("Commands", [CommandList(_commands(data))]),
    ]
    return [section for section in sections if section.elements]


def _model(data: RunData) -> list[Element]:
    parameters = sum(parameter.numel() for parameter in data.model.network.parameters())
    rows = [
        ("model", data.architecture),
        *_arguments(data),
        ("parameters", f"{parameters:,}"),
        ("optimiser steps", f"{data.model.step:,}"),
        *([] if data.seconds is None else [("seconds in training", f"{data.seconds:,.1f}")]),
        ("checkpoint", str(data.model.path)),
    ]
    hidden = ("_target_", "_partial_")
    config = [(key, shown(value)) for key, value in data.config.items() if key.rpartition(".")[2] not in hidden]
    return [FactTable(rows), *([FactTable(config, "The whole config")] if config else [])]


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
    return [DataTable(["weights", *NLL_HEADINGS], rows), *map(Paragraph, notes)]


def _samples(data: RunData) -> list[Element]:
    try:
        names = data.model.sample(_NUM_SAMPLES)
    except UserError as error:
        return [Paragraph(str(error), warning=True)]
    if data.corpus is None:
        return [NameList([(visible(name), None) for name in names])]
    seen = data.model.seen()
    new = sum(name not in seen for name in names)
    note = f"{new} of {len(names)} are not in the text; they are green and in bold."
    return [NameList([(visible(name), name in seen) for name in names]), Paragraph(note)]


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
        if not isinstance(data.model.network, Counted):
            more = hydra_override("resume", data.run_dir), f"trainer.max_steps={2 * data.model.step}"
            rows.append(("Resume it for more steps:", command("train", *more)))
    path = hydra_override("ckpt_path", data.model.path)
    return [
        *rows,
        ("Evaluate the exact NLL:", command("evaluate", path)),
        ("Sample these names, or more:", command("sample", path, f"num_samples={_NUM_SAMPLES}")),
        ("Score words:", command("score", path, "words=[anna]")),
    ]
