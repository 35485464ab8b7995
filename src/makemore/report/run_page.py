"""What the page of a run or a checkpoint has on it."""

import math
import shlex
from collections.abc import Iterator, Sequence
from itertools import chain

from makemore.errors import UserError
from makemore.inference.likelihood import NLL
from makemore.models.network import Counted
from makemore.overrides import override, shown
from makemore.pictures.gallery import pictures_of_model, pictures_of_training
from makemore.pictures.picture import Picture
from makemore.report import run_charts
from makemore.report.page import Block, Chart, Commands, Facts, Image, Names, Note, Section, Table
from makemore.report.subject import Subject

_DRAWN = 40
HEADINGS = ("weights", "split", "characters", "NLL (nats/char)", "bits/char", "perplexity")


def pictures_of(subject: Subject) -> Iterator[Picture]:
    """Yield all pictures of a model and of its training; fewer where the text is gone or the weights are no use."""
    of_model = () if subject.corpus is None or not subject.nlls else pictures_of_model(subject.model, subject.corpus)
    return chain(pictures_of_training(subject.curves), of_model)


def parts(subject: Subject, pictures: Sequence[Picture]) -> list[Section]:
    """Return what there is to say of a run or a checkpoint, a section each.

    Args:
        subject: it.
        pictures: of it.
    """
    found = [
        Section("What was run", [*(Note(problem, warning=True) for problem in subject.problems), *_what(subject)]),
        Section("The text", _text(subject)),
        Section("NLL", _nlls(subject)),
        Section("Curves", _curves(subject)),
        Section("Made-up names", _names(subject)),
        Section("Pictures", images_of(pictures)),
        Section("Commands", [Commands(_commands(subject))]),
    ]
    return [section for section in found if section.blocks]


def images_of(pictures: Sequence[Picture]) -> list[Block]:
    """Return pictures as a page has them."""
    return [Image(picture.caption, picture.png) for picture in pictures]


def rows_of(nlls: dict[str, dict[str, NLL]]) -> list[list[str]]:
    """Return a row for each weights and split: characters, nats a character, bits, perplexity."""
    return [
        [
            weights,
            split,
            f"{nll.characters:,}",
            *(f"{nll.nats:.7f}", f"{nll.bits_per_char:.4f}", f"{nll.perplexity:.4f}"),
        ]
        for weights, of_splits in nlls.items()
        for split, nll in of_splits.items()
    ]


def _what(subject: Subject) -> list[Block]:
    model = subject.model
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    rows = [
        ("model", str(subject.made_of["architecture"])),
        *((f"model.{key}", shown(value)) for key, value in subject.made_of["arguments"].items()),
        ("parameters", f"{weights:,}"),
        ("optimiser steps", f"{model.step:,}"),
        *([] if subject.seconds is None else [("seconds in training", f"{subject.seconds:,.1f}")]),
        ("checkpoint", str(model.path)),
    ]
    hidden = ("_target_", "_partial_")
    config = [(key, shown(value)) for key, value in subject.config.items() if key.rpartition(".")[2] not in hidden]
    return [Facts(rows), *([Facts(config, "The whole config", folded=True)] if config else [])]


def _text(subject: Subject) -> list[Block]:
    model = subject.model
    rows = [(f"sha256, {split}", digest) for split, digest in model.sha256.items()]
    if subject.corpus is None:
        return [Facts([*((split, path) for split, path in model.options.paths.items()), *rows])]
    now = subject.corpus.sha256
    changed = [split for split, digest in model.sha256.items() if now[split] != digest]
    notes = [
        Note(f"The {split} text has changed since training: its sha256 is {now[split]} now.", warning=True)
        for split in changed
    ]
    return [*notes, *(Note(line) for line in subject.corpus.report()), Facts(rows)]


def _nlls(subject: Subject) -> list[Block]:
    if not subject.nlls:
        return []
    rows = rows_of(subject.nlls)
    infinite = any(math.isinf(nll.nats) for nlls in subject.nlls.values() for nll in nlls.values())
    note = "inf: something there was never seen in training; counting with model.fake_count=1 gives it a chance."
    return [Table(HEADINGS, rows), *([Note(note)] if infinite else [])]


def _curves(subject: Subject) -> list[Block]:
    figure = run_charts.training(subject.curves)
    if figure is None:
        return []
    shown_curves = [subject.curves[name] for name in ("train/nll", "val/nll", "lr") if name in subject.curves]
    return [Chart(f"Training of {subject.name}.{run_charts.thinned(run_charts.left_out(shown_curves))}", figure)]


def _names(subject: Subject) -> list[Block]:
    try:
        names = subject.model.sample(_DRAWN)
    except UserError as error:
        return [Note(str(error), warning=True)]
    if subject.corpus is None:
        return [Names([(name, None) for name in names])]
    seen = set(names) & subject.model.seen()
    new = sum(name not in seen for name in names)
    note = f"{new} of {len(names)} are not in the text; they are green and in bold."
    return [Names([(name, name in seen) for name in names]), Note(note)]


def _commands(subject: Subject) -> list[tuple[str, str]]:
    """Return the lines that one pastes; the text is named as it was, so they are for the same directory."""
    rows = []
    if subject.overrides is not None and subject.run_dir is not None:
        # what makes a sweep of a command must not make one of a job's
        of_sweep = ["hydra.mode=RUN"] if (subject.run_dir / "job.json").exists() else []
        line = shlex.join(["python", "scripts/train.py", *subject.overrides, *of_sweep])
        rows.append(("Run it again, from the directory that it was started in:", line))
        if not isinstance(subject.model.network, Counted):
            more = f"{override('resume', subject.run_dir)} trainer.max_steps={2 * subject.model.step}"
            rows.append(("Train on:", f"python scripts/train.py {more}"))
    path = override("ckpt_path", subject.model.path)
    names = f"{path} num_samples={_DRAWN}"
    return [
        *rows,
        ("Its exact NLL:", f"python scripts/evaluate.py {path}"),
        ("These names, and more where the number is higher:", f"python scripts/sample.py {names}"),
        ("How likely words are:", f"python scripts/score.py {path} 'words=[anna]'"),
    ]
