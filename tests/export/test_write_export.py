"""Checks what an export leaves: its files, its card and its table, whole or not at all, and nothing else lost."""

import csv
import json
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

import every_model
import makemore
from makemore.checkpoints import EXPORTED_WEIGHTS, path_of
from makemore.errors import UserError
from makemore.export import write_export as module
from makemore.export.model_card import training_command
from makemore.export.onnx_form import OnnxForm, StateInput
from makemore.export.write_export import Export, bigram_table, check_output, write_export
from makemore.inference.exported import CONFIG
from makemore.inference.reference import reference_row

RUN = {"run": "runs/first", "run_sha256": "1234"}


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the ONNX form out, which takes seconds."""
    monkeypatch.setattr(module, "_checked_form", lambda _model: (None, None))


def run(directory: Path, text: Path, architecture: str = "bigram", more: str | None = None) -> Path:
    """Return the checkpoint of a run in a directory, with the overrides that it was started with."""
    path = every_model.checkpoint(directory, text, architecture, more)
    (directory / ".hydra").mkdir()
    overrides = [f"model={architecture}", "data=text", f"data.path={text}", "name=first"]
    (directory / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    return path


def front_matter(card: str) -> dict[str, object]:
    found = re.match(r"---\n(.*?)\n---\n\n# ", card, re.DOTALL)
    assert found is not None
    loaded = yaml.safe_load(found[1])
    assert isinstance(loaded, dict)
    return loaded


def run_card(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run the Python of a card in its directory; return what each block printed."""
    monkeypatch.chdir(directory)
    outputs = []
    for code in re.findall(r"```python\n(.*?)\n```", (directory / "README.md").read_text(), re.DOTALL):
        capsys.readouterr()
        exec(code, {})
        outputs.append(capsys.readouterr().out)
    return outputs


def test_an_export_has_all_that_others_need(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, output = run(tmp_path / "first", text), tmp_path / "out"
    export = write_export(checkpoint, output, "cc0-1.0")
    assert export.difference is not None
    assert export.difference <= 1e-5
    assert {path.name: path.stat().st_size for path in output.iterdir()} == export.sizes
    assert list(export.sizes) == [EXPORTED_WEIGHTS, CONFIG, "model.onnx", "bigrams.csv", "README.md"]
    assert makemore.load(output).nll(["anna"]) == makemore.load(checkpoint).nll(["anna"])
    use = json.loads((output / CONFIG).read_text())["onnx"]
    assert use["tokens"] == makemore.load(checkpoint).vocabulary.labels
    assert (use["start"], use["end"], use["block_size"], use["states"]) == (0, 0, 1, [])
    printed = run_card(output, monkeypatch, capsys)
    assert len(printed) == 2
    assert re.fullmatch(r"[a-z]*\n", printed[1])
    # an export of an export would say less
    with pytest.raises(UserError, match="is an export already"):
        write_export(output / EXPORTED_WEIGHTS, tmp_path / "other")


@pytest.mark.slow
def test_the_card_of_a_network_over_lines_runs_too(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = write_export(run(tmp_path / "first", text, "transformer"), tmp_path / "out")
    assert export.difference is not None
    assert re.fullmatch(r"[a-z]*\n", run_card(tmp_path / "out", monkeypatch, capsys)[1])


@pytest.mark.usefixtures("without_onnx")
def test_the_card_has_what_hubs_and_readers_look_for(text: Path, tmp_path: Path) -> None:
    checkpoint = run(tmp_path / "first", text, "ngram")
    write_export(checkpoint, tmp_path / "out", "cc0-1.0")
    card = (tmp_path / "out" / "README.md").read_text()
    meta = front_matter(card)
    assert meta["license"] == "cc0-1.0"
    assert meta["tags"] == ["character-level", "makemore", "ngram"]
    assert "language" not in meta
    data = module.read_run_data(checkpoint)
    nlls = next(iter(data.nlls.values()))
    # val and test have trigrams that training has not: hubs take no infinite number
    assert math.isinf(nlls["val"].nats)
    (entry,) = meta["model-index"]  # type: ignore[misc]
    assert entry["name"] == "first"
    (result,) = entry["results"]
    assert result["dataset"] == {"type": "names.txt", "name": "names.txt", "split": "train"}
    assert result["metrics"][0] == {
        "type": "nll",
        "name": "NLL (nats a character)",
        "value": round(nlls["train"].nats, 7),
    }
    assert f"| model | train | {nlls['train'].characters:,} | {nlls['train'].nats:.7f} |" in card
    assert data.corpus is not None
    assert (
        f"| Kneser-Ney | val | {nlls['val'].characters:,} | {reference_row(data.corpus).nlls['val'].nats:.7f}" in card
    )
    assert "makemore train model=ngram data=text data.path=names.txt\n" in card
    assert f"sha256 `{data.model.sha256['train']}`" in card
    assert "splits: train, val, test of 0.8, 0.1, 0.1, by line, `data.split_seed=0`" in card
    # where a text is on whose machine is nobody's business
    assert str(text.parent) not in card


def test_the_command_of_the_card_has_no_secrets_and_no_directories(text: Path, tmp_path: Path) -> None:
    data = module.read_run_data(every_model.checkpoint(tmp_path / "first", text, "bigram"))
    data.overrides = [
        "experiment=lessons/bigram",
        "data=text",
        f"+data.path='{text}'",
        "data.val_path=null",
        "data.boundary=' a'",
        "seed=3",
        "logger=mlflow",
        "logger.mlflow.tracking_uri=http://user:PASSWORD@host",
        "+logger.wandb.settings.api_key=PASSWORD",
        "~logger.tensorboard",
        "hydra.run.dir=/home/me/runs",
        "name=my secret",
        "+model.table=/home/me/table.csv",
        "+model.other='C:\\home\\me\\other.csv'",
        "+model.tables=[/home/me/table.csv]",
        "data={url:/home/me/table.csv}",
        "~trainer.max_time",
    ]
    assert training_command(data) == (
        "makemore train experiment=lessons/bigram data=text +data.path=names.txt data.val_path=null "
        "\"data.boundary=' a'\" seed=3 +model.table=table.csv +model.other=other.csv '~trainer.max_time'"
    )


@pytest.mark.usefixtures("without_onnx")
def test_the_card_of_a_mixture_has_its_parts_and_says_how_they_were_mixed(text: Path, tmp_path: Path) -> None:
    write_export(every_model.checkpoint(tmp_path / "first", text, "mixture"), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for name in ("kneser_ney", "bow", "transformer"):
        assert re.search(rf"- part of weight 0\.\d{{4}}: `{name}`", card)
    assert "mixed by `makemore mix`" in card.partition("## Training")[2]


@pytest.mark.usefixtures("without_onnx")
def test_without_its_text_the_card_says_that_there_are_no_figures(text: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text(text.read_text())
    checkpoint = every_model.checkpoint(tmp_path / "first", own, "bigram")
    for change in (lambda: own.write_text("anna\nbob\ncarl\ndora\n" * 9), own.unlink):
        change()
        write_export(checkpoint, tmp_path / "out")
        card = (tmp_path / "out" / "README.md").read_text()
        assert "The text was not there, or had changed, when this was exported, so there are no figures." in card
        assert "model-index" not in front_matter(card)
        assert "licence: not given" in card
        assert "## Training" not in card


@pytest.mark.parametrize("boundary", ["shared", "separate"])
@pytest.mark.parametrize("more", [None, "counted bigram"])
def test_the_table_of_a_bigram_is_what_it_gives(more: str | None, boundary: str, text: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.txt"
    odd.write_text(text.read_text() + 'a,b"\n' * 40 + "=b.\na;b\n'a a\n")
    architecture = "bigram" if more is None else "ngram"
    model = makemore.load(every_model.checkpoint(tmp_path / "run", odd, architecture, more, boundary))
    rows = list(csv.reader(bigram_table(model).splitlines(keepends=True), strict=True))
    assert rows[0] == ["", *model.vocabulary.labels]
    assert [row[0] for row in rows[1:]] == model.vocabulary.labels
    assert {",", '"', ";", " ", "."} < set(rows[0])
    probabilities = torch.tensor([[float(cell) for cell in row[1:]] for row in rows[1:]], dtype=torch.float64)
    assert probabilities.sum(1).tolist() == pytest.approx([1] * model.vocabulary.size)
    tokens = [model.vocabulary.start, *model.vocabulary.encode('a,b"'), model.vocabulary.end]
    nll = -sum(math.log(probabilities[pair]) for pair in pairwise(tokens)) / 5
    assert nll == pytest.approx(model.nll(['a,b"'])[0], rel=1e-6)


@pytest.mark.usefixtures("without_onnx")
def test_only_a_bigram_has_a_table(text: Path, tmp_path: Path) -> None:
    assert "bigrams.csv" not in write_export(run(tmp_path / "trigram", text, "ngram"), tmp_path / "out").sizes
    assert "bigrams.csv" not in write_export(run(tmp_path / "lines", text, "gru"), tmp_path / "other").sizes


@pytest.mark.usefixtures("without_onnx")
def test_a_second_export_of_a_run_replaces_the_first(text: Path, tmp_path: Path) -> None:
    checkpoint, output = run(tmp_path / "first", text), tmp_path / "out"
    write_export(checkpoint, output, "mit")
    (output / "model.onnx").write_bytes(b"of an earlier one")
    write_export(checkpoint, output)
    assert sorted(path.name for path in output.iterdir()) == ["README.md", "bigrams.csv", CONFIG, EXPORTED_WEIGHTS]
    assert "license" not in front_matter((output / "README.md").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out"]
    with pytest.raises(UserError, match=r"holds the export of another run; choose another output="):
        write_export(run(tmp_path / "second", text), output)


def test_runs_of_one_name_are_told_by_their_configs_and_texts(text: Path, tmp_path: Path) -> None:
    def told(project: str, config: str | None = None, more: str = "") -> dict[str, str]:
        own = tmp_path / f"own{more}.txt"
        own.write_text(text.read_text() + more)
        checkpoint = run(tmp_path / project / "runs" / "early", own)
        if config is not None:
            (checkpoint.parents[1] / ".hydra" / "config.yaml").write_text(config)
        return module.run_of(module.read_run_data(checkpoint))

    first = told("a", "seed: 1")
    assert first["run"] == "runs/early"
    assert told("b", "seed: 1") == first
    for other in (told("c", "seed: 2"), told("d", "seed: 1", "zoe\n"), told("e")):
        assert other["run"] == first["run"]
        assert other["run_sha256"] != first["run_sha256"]


@pytest.mark.usefixtures("without_onnx")
def test_what_fails_leaves_what_was_there(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, output = run(tmp_path / "first", text), tmp_path / "out"
    write_export(checkpoint, output, "mit")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    written: list[str] = []
    write_bytes = Path.write_bytes

    def run_out_of_room(path: Path, content: bytes) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", run_out_of_room)
    with pytest.raises(UserError, match=r"out: cannot be written: No space left on device"):
        write_export(checkpoint, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out"]


def test_other_things_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(tmp_path / "new", RUN)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", RUN)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / CONFIG).write_text('{"model_type": "bert"}')
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "README.md").touch()
    for name, says in (
        ("full", "holds other things, such as thesis.tex"),
        ("full/thesis.tex", "is there already and no directory"),
        ("foreign", "is not of an export of this project"),
        ("card", "cannot be read: No such file or directory"),
    ):
        with pytest.raises(UserError, match=says):
            check_output(tmp_path / name, RUN)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match="is the working directory"):
        check_output(Path(), RUN)


@pytest.mark.parametrize("license_id", ["CC0", "a b", "", "x\ny", "../mit", "'"])
def test_a_licence_is_an_identifier(license_id: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an identifier of a licence"):
        write_export(tmp_path / "step-00000007.ckpt", tmp_path / "out", license_id)


def test_a_network_without_an_onnx_form_is_exported_without(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> OnnxForm:
        raise UserError("torch.onnx cannot translate the network: no function for aten.mode")

    monkeypatch.setattr(module, "onnx_form", refuse)
    export = write_export(run(tmp_path / "first", text), tmp_path / "out")
    assert (export.difference, "model.onnx" in export.sizes) == (None, False)
    assert caplog.messages == [
        "model.onnx is left out: torch.onnx cannot translate the network: no function for aten.mode"
    ]
    assert json.loads((tmp_path / "out" / CONFIG).read_text())["onnx"] is None
    assert "onnx" not in (tmp_path / "out" / "README.md").read_text()


def test_a_checkpoint_outside_a_run_is_exported_by_its_name(text: Path, tmp_path: Path, without_onnx: None) -> None:
    path = every_model.checkpoint(tmp_path / "run", text, "bigram").rename(tmp_path / "mine.ckpt")
    write_export(path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / CONFIG).read_text())["run"] == "mine"
    assert path_of(tmp_path / "run", 7).exists() is False


def test_the_printed_table_has_the_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    module.print_export(Export({"model.onnx": 12345}, 2.5e-7))
    out = capsys.readouterr().out
    assert "12,345" in out
    assert "model.onnx: log-probabilities differ by 2.5e-07 at the most, on 1,000 contexts" in out


def test_a_state_begins_with_a_row_for_each_line() -> None:
    assert StateInput((2,), "int64", 5).start(3).tolist() == [[5, 5]] * 3
