"""Write the export of a model: a directory that is written whole or not at all."""

import copy
import csv
import hashlib
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from makemore.checkpoints import EXPORTED_WEIGHTS, RECORD_KEY, naming_damage, read
from makemore.errors import DivergedError, UserError
from makemore.export.model_card import model_card
from makemore.export.onnx_check import NUM_CONTEXTS, greatest_difference
from makemore.export.onnx_form import OnnxForm, onnx_form
from makemore.inference.exported import CONFIG, exported_files, read_config
from makemore.inference.trained_model import TrainedModel
from makemore.report.run_data import RunData, read_run_data
from makemore.runs.saved_config import saved_config_of
from makemore.system.console import TableColumn, print_table
from makemore.system.files import replacing_directory, writing

log = logging.getLogger(__name__)

CARD, ONNX, TABLE = "README.md", "model.onnx", "bigrams.csv"
FILES = (EXPORTED_WEIGHTS, CONFIG, ONNX, TABLE, CARD)


@dataclass(frozen=True)
class Export:
    """What was written: the size of each file in bytes, and the greatest difference of the ONNX form, if any."""

    sizes: dict[str, int]
    difference: float | None


def write_export(checkpoint: Path, output: Path, license_id: str | None = None) -> Export:
    """Export the model of a checkpoint to a directory, in place of an earlier export of the same run.

    A network that has no ONNX form is exported without, which is logged. `license_id` is that of the text.

    Raises:
        UserError: the checkpoint cannot be used, is an export, or the directory holds something else.
    """
    if license_id is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license_id):
        raise UserError(f"license={license_id} is not an identifier of a licence, such as cc0-1.0 or mit")
    if checkpoint.name == EXPORTED_WEIGHTS:
        raise UserError(f"{checkpoint}: is an export already; copy it, or export the run that it comes from")
    data = read_run_data(checkpoint)
    run = run_of(data)
    check_output(output, run)
    model = data.model
    form, difference = _checked_form(model)
    with naming_damage(checkpoint):
        record = read(checkpoint)[RECORD_KEY]
        facts = {**run, "onnx": None if form is None else _use(form, model)}
        files = exported_files(model.network.state_dict(), record, **facts)
    if form is not None:
        files[ONNX] = form.content
    if model.network.reads == "windows" and model.network.block_size == 1:
        files[TABLE] = bigram_table(model).encode()
    files[CARD] = model_card(data, form, license_id).encode()
    with writing(output), replacing_directory(output) as directory:
        for name, content in files.items():
            (directory / name).write_bytes(content)
    return Export({name: len(files[name]) for name in FILES if name in files}, difference)


def run_of(data: RunData) -> dict[str, str]:
    """Return what tells a run from all others: its name, and a digest of its config and of its text's.

    A checkpoint without a saved config is told by its own bytes.
    """
    if data.run_dir is None:
        run, files = data.name, []
    else:
        run_dir = data.run_dir.resolve()
        # every mixture is called mixture, and is in the directory of its run
        run = "/".join(run_dir.parts[-2:])
        files = [path for each in (run_dir, run_dir.parent) if (path := saved_config_of(each)).is_file()]
    digest = hashlib.sha256((files or [data.model.path])[0].read_bytes())
    digest.update("".join(data.model.sha256.values()).encode())
    return {"run": run, "run_sha256": digest.hexdigest()}


def check_output(output: Path, run: Mapping[str, str]) -> None:
    """Raise `UserError` where a directory cannot be written without the loss of something else."""
    mend = "choose another output="
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output}: is there already and no directory; {mend}")
    if output.samefile(Path.cwd()):
        raise UserError(f"{output}: is the working directory, which an export would replace; {mend}")
    found = sorted(path.name for path in output.iterdir())
    if others := [name for name in found if name not in FILES]:
        raise UserError(f"{output}: holds other things, such as {others[0]}; {mend}")
    if found and not run.items() <= read_config(output).items():
        raise UserError(f"{output}: holds the export of another run; {mend}")


def _checked_form(model: TrainedModel) -> tuple[OnnxForm | None, float | None]:
    try:
        form = onnx_form(model.network, model.vocabulary)
        return form, greatest_difference(form, model.network, model.vocabulary)
    except DivergedError:
        raise
    except UserError as error:
        log.warning("%s is left out: %s", ONNX, error)
        return None, None


def _use(form: OnnxForm, model: TrainedModel) -> dict[str, Any]:
    """Return what a program needs to know to use the ONNX form."""
    vocabulary = model.vocabulary
    return {
        "tokens": vocabulary.labels,
        "start": vocabulary.start,
        "end": vocabulary.end,
        "block_size": model.network.block_size,
        "states": [asdict(state) for state in form.states],
        "contexts_checked": NUM_CONTEXTS,
    }


@torch.no_grad()
def bigram_table(model: TrainedModel) -> str:
    """Return, as CSV, the probability of each next token (columns) after each token (rows), in float64."""
    size, labels = model.vocabulary.size, model.vocabulary.labels
    network = copy.deepcopy(model.network).double()
    probabilities = network(torch.arange(size).unsqueeze(1)).softmax(1)
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["", *labels])
    table.writerows([label, *row] for label, row in zip(labels, probabilities.tolist(), strict=True))
    return file.getvalue()


def print_export(export: Export) -> None:
    """Print the files with their sizes, and how near the ONNX form is, on standard output."""
    columns = [
        TableColumn("file", list(export.sizes), is_text=True),
        TableColumn("bytes", [f"{size:,}" for size in export.sizes.values()]),
    ]
    print_table("export", columns)
    if export.difference is not None:
        print(f"{ONNX}: log-probabilities differ by {export.difference:.1e} at the most, on {NUM_CONTEXTS:,} contexts")
