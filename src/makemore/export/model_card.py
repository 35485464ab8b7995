"""The model card: a README.md with YAML front matter, in the form that model hubs take."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from makemore.export.onnx_check import NUM_CONTEXTS
from makemore.export.onnx_form import OnnxForm
from makemore.inference.evaluation import NLL_HEADINGS, nll_rows
from makemore.inference.likelihood import NLL
from makemore.models.mixture import Mixture
from makemore.overrides import override, shell_quoted, shown
from makemore.report.run_data import RunData

# keys of what a run is; others may have secrets and directories in them, such as those of loggers
_TOLD = {"data", "experiment", "model", "optimizer", "patience", "result", "scheduler", "seed", "trainer", "val_every"}
_LOADING = """\
import makemore

model = makemore.load(".")  # this directory
model.nll(["emma"])  # nats a character
model.sample(10, seed=1)"""
_SESSION = """\
import json
from pathlib import Path

import numpy as np
import onnxruntime

use = json.loads(Path("config.json").read_text(encoding="utf-8"))["onnx"]
session = onnxruntime.InferenceSession("model.onnx")
rng = np.random.default_rng(1)
"""
_WINDOWS = """\
context, item = [use["start"]] * use["block_size"], ""
while True:
    (log_probs,) = session.run(None, {"contexts": np.array([context], dtype=np.int64)})
    if use["start"] != use["end"]:
        log_probs[:, use["start"]] = -np.inf  # stands in no item
    token = int(np.argmax(log_probs[0] + rng.gumbel(size=log_probs.shape[1])))  # a draw from the distribution
    if token == use["end"]:
        break
    context, item = [*context, token][1:], item + use["tokens"][token]
print(item)"""
_STEPS = """\
states = [np.full((1, *each["shape"]), each["fill"], dtype=each["dtype"]) for each in use["states"]]
token, item = use["start"], ""
for _ in range(use["block_size"]):
    named = {f"state_{number}": state for number, state in enumerate(states)}
    log_probs, *states = session.run(None, {"token": np.array([token]), **named})
    if use["start"] != use["end"]:
        log_probs[:, use["start"]] = -np.inf  # stands in no item
    token = int(np.argmax(log_probs[0] + rng.gumbel(size=log_probs.shape[1])))  # a draw from the distribution
    if token == use["end"]:
        break
    item += use["tokens"][token]
print(item)"""


def model_card(data: RunData, form: OnnxForm | None, license_id: str | None) -> str:
    """Return the card of a run: its text and splits, its NLLs beside the reference row, and how it is used.

    Args:
        data: of the run.
        form: its ONNX form, where it has one.
        license_id: of the text, as hubs name it; None where it is not known.
    """
    texts = [f"`{name}`" for name in text_names(data)]
    parts = [
        f"---\n{yaml.safe_dump(front_matter(data, license_id), sort_keys=False, allow_unicode=True)}---",
        f"# {data.name}",
        f"A character-level language model, `{data.architecture}`, trained on {' and '.join(texts)} by "
        "makemore-lightning. It makes up new items like those of the text, and says how likely an item is.",
        "## Model",
        "\n".join(f"- {what}: {value}" for what, value in _model(data)),
        "## Text",
        "\n".join(f"- {line}" for line in _text(data, license_id)),
        "## Evaluation",
        *_evaluation(data),
        *_training(data),
        "## Use",
        "Load it back, score and sample:",
        _code(_LOADING, "python"),
        "Or from a shell:",
        _code("makemore sample ckpt_path=. num_samples=20\nmakemore evaluate ckpt_path=. data.path=FILE", "bash"),
    ]
    if form is not None:
        what = "a step of a line, with its state" if form.states else "contexts"
        parts += [
            f"`model.onnx` takes {what}, and needs onnxruntime and numpy alone. It was compared with the checkpoint "
            f"on {NUM_CONTEXTS:,} contexts.",
            _code(_SESSION + (_STEPS if form.states else _WINDOWS), "python"),
        ]
    return "\n\n".join(parts) + "\n"


def front_matter(data: RunData, license_id: str | None) -> dict[str, Any]:
    """Return the metadata of the card; the language is unknown, and the licence where none is given."""
    name = text_names(data)[0]
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"type": name, "name": name, "split": split},
            "metrics": [
                {"type": "nll", "name": "NLL (nats a character)", "value": round(nll.nats, 7)},
                {"type": "perplexity", "name": "perplexity a character", "value": round(nll.perplexity, 4)},
            ],
        }
        for split, nll in nlls_of(data).items()
        if math.isfinite(nll.nats)
    ]
    return {
        **({} if license_id is None else {"license": license_id}),
        "library_name": "makemore-lightning",
        "pipeline_tag": "text-generation",
        "tags": ["character-level", "makemore", data.architecture],
        **({"model-index": [{"name": data.name, "results": results}]} if results else {}),
    }


def text_names(data: RunData) -> list[str]:
    """Return the names of the text's files, without their directories, which are nobody's business."""
    return list(map(_file_name, data.model.options.paths.values()))


def nlls_of(data: RunData) -> Mapping[str, NLL]:
    """Return the NLLs of the model by split; none where its text is gone, or is another one now."""
    is_same = data.corpus is not None and data.corpus.sha256 == data.model.sha256
    return next(iter(data.nlls.values()), {}) if is_same else {}


def training_command(data: RunData) -> str | None:
    """Return the command that trained the run, with `_TOLD` keys and no directories; None where it is unknown."""
    if data.overrides is None:
        return None
    named = {f"data.{key}": getattr(data.model.options, key) for key in ("path", "val_path", "test_path")}
    words = ["makemore", "train"]
    for given in data.overrides:
        key, _, value = given.partition("=")
        name = key.lstrip("+~")
        if re.split(r"[./@]", name)[0] not in _TOLD:
            continue
        if path := named.get(name):
            words.append(override(key, _file_name(path)))
        elif ("." not in name and re.fullmatch(r"\w[\w/-]*", value)) or not re.search(r"[/\\]", value):
            # a choice of a file below conf/, or no path
            words.append(shell_quoted(given))
        elif not value.startswith(("[", "{")):
            words.append(override(key, _file_name(value.strip("'\""))))
    return " ".join(words)


def _training(data: RunData) -> list[str]:
    if isinstance(data.model.network, Mixture):
        told = (
            "The parts were trained or counted one by one, and mixed by `makemore mix`, or by `makemore train` at the "
            "end of a run with counting alone; their weights were fitted on the validation split by EM."
        )
        return ["## Training", told]
    command = training_command(data)
    if command is None:
        return []
    told = "It was trained by this command; keys of directories and loggers, among others, are left out."
    return ["## Training", told, _code(command, "bash")]


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _model(data: RunData) -> Iterator[tuple[str, str]]:
    network = data.model.network
    yield "parameters", f"{sum(parameter.numel() for parameter in network.parameters()):,}"
    yield "optimiser steps", f"{data.model.step:,}"
    if data.seconds is not None:
        yield "seconds in training", f"{data.seconds:,.1f}"
    if isinstance(network, Mixture):
        for weight, part in zip(network.weights.tolist(), data.arguments["parts"], strict=True):
            yield f"part of weight {weight:.4f}", f"`{part['architecture']}`, `{shown(part['arguments'])}`"
    else:
        yield from ((f"`{key}`", f"`{shown(value)}`") for key, value in data.arguments.items())
    yield "tokens", f"{data.model.vocabulary.size}"


def _text(data: RunData, license_id: str | None) -> Iterator[str]:
    options = data.model.options
    for name, (split, digest) in zip(text_names(data), data.model.sha256.items(), strict=True):
        yield f"`{name}`, sha256 `{digest}`" + (f" ({split})" if len(data.model.sha256) > 1 else "")
    if len(options.paths) == 1:
        ratios = ", ".join(f"{ratio:g}" for ratio in options.splits)
        yield f"splits: train, val, test of {ratios}, by {options.by}, `data.split_seed={options.split_seed}`"
    if data.corpus is not None:
        yield from data.corpus.report()[len(options.paths) :]
    yield f"licence: {license_id}" if license_id is not None else "licence: not given"


def _evaluation(data: RunData) -> list[str]:
    nlls = nlls_of(data)
    if not nlls or data.reference is None:
        return ["The text was not there, or had changed, when this was exported, so there are no figures."]
    rows = [
        *(["model", *row] for row in nll_rows(nlls)),
        *(["Kneser-Ney", *row] for row in nll_rows(data.reference.nlls)),
    ]
    note = (
        f"Kneser-Ney of order {data.reference.order} is what counting alone gives on the same splits. All are exact, "
        "over every character and the end of each item."
    )
    return [_table(["", *NLL_HEADINGS], rows), note]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", "---", *["---:"] * (len(headings) - 2)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, rule, *rows])


def _code(lines: str, language: str) -> str:
    return f"```{language}\n{lines}\n```"
