"""Checks checkpoints: what they hold, how a model comes back from one, and what a bad one is told."""

import hashlib
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

import makemore
from makemore.checkpoints import FORMAT_VERSION, RECORD_KEY, find
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.sampling import SamplingOptions, sample
from makemore.inference.scoring import score
from makemore.inference.trained_model import TrainedModel, load
from makemore.runs.saving import AtomicCheckpointIO, Checkpoints
from makemore.system import files
from makemore.training.language_model import LanguageModel
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.schedules import step_decay

WORDS = ["anna", "hanna", "ann", "hal", "lana", "nala", "alan", "zoë", "noah", "noa"]
ARCHITECTURES = ["bigram", "mlp", "ngram"]

# what may be in a checkpoint; a state dict of torch is an OrderedDict
CONTAINERS = (dict, OrderedDict, list, tuple)
PLAIN = (str, int, float, bool, type(None), Tensor)


def run(directory: Path, text: Path, architecture: str, **options: Any) -> LanguageModel:
    """Train for six steps, with checkpoints in `directory`."""
    counting = architecture == "ngram"
    options = {"batch_size": None if counting else 4, "val_every": 2} | options
    data = TextDataModule(str(text), **options)
    vocabulary = data.corpus.vocabulary
    model: LanguageModel
    if counting:
        model = CountingLanguageModel("ngram", vocabulary, order=3, fake_count=0.5)
    else:
        optimizer = partial(torch.optim.AdamW, lr=0.01) if architecture == "mlp" else partial(torch.optim.SGD, lr=1.0)
        model = NeuralLanguageModel(architecture, vocabulary, optimizer, step_decay([3], 0.5), l2=0.01)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1 if counting else 6,
        max_epochs=-1,
        num_sanity_val_steps=0,
        logger=False,
        callbacks=[Checkpoints(every=2)],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=directory,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    return model


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, LanguageModel]]:
    """A run's directory and its model, by architecture."""
    directories = {architecture: tmp_path_factory.mktemp(architecture) for architecture in ARCHITECTURES}
    return {name: (directory, run(directory, text, name)) for name, directory in directories.items()}


@pytest.fixture
def mlp(runs: dict[str, tuple[Path, LanguageModel]]) -> TrainedModel:
    return load(runs["mlp"][0])


Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def altered(runs: dict[str, tuple[Path, LanguageModel]], tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of a checkpoint after an edit of its contents."""

    def write(edit: Edit, architecture: str = "mlp") -> Path:
        checkpoint = torch.load(find(runs[architecture][0]), weights_only=True)
        edit(checkpoint)
        path = tmp_path / "altered.ckpt"
        files.write_sealed(checkpoint, path)
        return path

    return write


def refusal(path: Any) -> str:
    """Return the message of the `UserError` that loading raises: one line that names the path."""
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def foreign_objects(value: Any, where: str = "") -> Iterator[str]:
    """Yield the places of all that is neither builtin nor tensor."""
    if type(value) in CONTAINERS:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from foreign_objects(key, f"{where}, key")
            yield from foreign_objects(item, f"{where}[{key!r}]")
    elif type(value) not in PLAIN:
        yield f"{where}: {type(value)}"


# --- what a checkpoint holds


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_checkpoint_holds_builtins_and_tensors_alone(
    runs: dict[str, tuple[Path, LanguageModel]], architecture: str
) -> None:
    paths = list((runs[architecture][0] / "checkpoints").glob("*.ckpt"))
    assert len(paths) >= (2 if architecture == "ngram" else 3)
    for path in paths:
        assert list(foreign_objects(torch.load(path, weights_only=True))) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_record_says_all_that_loading_needs(
    runs: dict[str, tuple[Path, LanguageModel]], text: Path, architecture: str
) -> None:
    steps = 1 if architecture == "ngram" else 6
    record = torch.load(find(runs[architecture][0]), weights_only=True)[RECORD_KEY]
    assert record["format_version"] == FORMAT_VERSION
    assert record["model"]["architecture"] == architecture
    assert record["model"]["arguments"] == ({"order": 3, "fake_count": 0.5} if architecture == "ngram" else {})
    assert record["vocabulary"] == {"characters": "ahlnozë", "boundary": "shared", "boundary_at": "first"}
    assert record["data"]["options"]["path"] == str(text.resolve())
    assert record["data"]["options"]["splits"] == [0.8, 0.1, 0.1]
    assert record["data"]["sha256"] == {"train": hashlib.sha256(text.read_bytes()).hexdigest()}
    assert record["step"] == steps


def test_a_relative_path_of_the_text_is_recorded_as_an_absolute_one(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(text.parent)
    run(tmp_path, Path(text.name), "ngram")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path).seen() == set(WORDS)


# --- how a model comes back


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loaded_model_is_the_trained_one(runs: dict[str, tuple[Path, LanguageModel]], architecture: str) -> None:
    directory, trained = runs[architecture]
    model = load(directory)
    contexts = torch.randint(0, 8, (40, model.network.block_size), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.network(contexts), trained.network(contexts))
    assert not model.network.training
    assert model.vocabulary == trained.vocabulary
    assert model.step == trained.global_step
    assert model.path == directory / "checkpoints" / f"step-{model.step:08d}.ckpt"


def test_options_come_back_as_they_were(text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("nala\nalan\n")
    options = {
        "val_path": str(other),
        "split_seed": 3,
        "boundary": "separate",
        "boundary_at": "last",
        "normalize": "NFD",
        "max_lines": 8,
    }
    model = run(tmp_path, text, "ngram", **options)
    loaded = load(tmp_path)
    assert isinstance(model.trainer.datamodule, TextDataModule)  # type: ignore[attr-defined]
    assert loaded.options == model.trainer.datamodule.options  # type: ignore[attr-defined]
    assert loaded.vocabulary == model.vocabulary
    assert set(loaded.sha256) == {"train", "val"}


def test_loading_from_the_package(runs: dict[str, tuple[Path, LanguageModel]]) -> None:
    model = makemore.load(str(runs["mlp"][0]))
    assert model.nll(["anna"]) == load(runs["mlp"][0]).nll(["anna"])


def test_a_checkpoint_of_its_own_name_is_loaded(runs: dict[str, tuple[Path, LanguageModel]]) -> None:
    path = runs["mlp"][0] / "checkpoints" / "step-00000004.ckpt"
    assert load(path).step == 4


def test_loading_does_not_depend_on_the_working_directory(
    runs: dict[str, tuple[Path, LanguageModel]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = runs["mlp"][0]
    monkeypatch.chdir(directory)
    relative = load("checkpoints/step-00000006.ckpt")
    monkeypatch.chdir(tmp_path)
    assert relative.nll(WORDS) == load(directory).nll(WORDS)


# --- scoring and sampling


def test_nll_is_that_of_scoring(mlp: TrainedModel) -> None:
    assert mlp.nll(["anna", ""]) == [word.nll for word in score(mlp.network, mlp.vocabulary, ["anna", ""])]


def test_words_and_prompts_are_normalised_as_the_text_was(mlp: TrainedModel) -> None:
    assert mlp.nll(["zoe\u0308"]) == mlp.nll(["zo\u00eb"])
    assert mlp.sample(1, prompt="zoe\u0308")[0].startswith("zo\u00eb")


def test_an_unknown_character_is_named(mlp: TrainedModel) -> None:
    with pytest.raises(UserError, match="the character 'q' in 'aq'"):
        mlp.nll(["anna", "aq"])
    with pytest.raises(UserError, match="the character 'q' in 'q'"):
        mlp.sample(1, prompt="q")


def test_samples_are_those_of_sampling(mlp: TrainedModel) -> None:
    options = SamplingOptions("an", 0.7, 3, 12)
    expected = sample(mlp.network, mlp.vocabulary, 20, 4, options)
    assert mlp.sample(20, seed=4, prompt="an", temperature=0.7, top_k=3, max_length=12) == expected
    assert mlp.sample(10, seed=4, prompt="an", temperature=0.7, top_k=3, max_length=12) == expected[:10]


@pytest.mark.parametrize("options", [{"temperature": 0}, {"top_k": 0}, {"max_length": 0}, {"seed": -1}, {"n": -1}])
def test_a_wrong_sampling_option_is_a_user_error(mlp: TrainedModel, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=" must be "):
        mlp.sample(**({"n": 1} | options))


def test_unseen_items_are_the_rest_of_the_same_stream(runs: dict[str, tuple[Path, LanguageModel]]) -> None:
    model = load(runs["ngram"][0])
    items = model.sample(300, temperature=0.3)
    assert set(items) & set(WORDS)
    expected = [item for item in items if item not in WORDS]
    unseen = model.sample(10, temperature=0.3, unseen=True)
    assert unseen == expected[:10]


def test_unseen_gives_up_after_max_attempts(mlp: TrainedModel) -> None:
    with pytest.raises(UserError, match="only 0 of 2 unseen items came up in 7 attempts"):
        mlp.sample(2, prompt="anna", max_length=4, unseen=True, max_attempts=7)


def test_only_unseen_needs_the_text(tmp_path: Path) -> None:
    text = tmp_path / "gone.txt"
    text.write_text("\n".join(WORDS))
    run(tmp_path, text, "ngram")
    text.unlink()
    model = load(tmp_path)
    assert len(model.sample(3)) == 3
    with pytest.raises(UserError, match=r"the text of .*step-00000001\.ckpt is gone: .*gone\.txt"):
        model.sample(3, unseen=True)


# --- what a bad checkpoint is told


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    assert "no such checkpoint" in refusal(tmp_path / "nothing.ckpt")


# Hydra reads ckpt_path=2024 as a number, and ckpt_path=null as none
@pytest.mark.parametrize("path", [2024, None])
def test_a_checkpoint_whose_path_is_no_text(path: Any) -> None:
    refusal(path)


def test_a_directory_without_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "notes.txt").touch()
    assert "has no checkpoints/step-*.ckpt" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04", b"hello, world\n", bytes(range(256)) * 40])
def test_a_file_that_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    assert "not a checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99, 0.9999])
def test_a_truncated_checkpoint(runs: dict[str, tuple[Path, LanguageModel]], share: float, tmp_path: Path) -> None:
    content = find(runs["mlp"][0]).read_bytes()
    path = tmp_path / "truncated.ckpt"
    path.write_bytes(content[: int(len(content) * share)])
    assert "damaged" in refusal(path)


class Payload:
    """Unpickled without care, this makes a directory."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch legacy", "in the record"])
def test_a_pickle_that_would_execute_code_is_refused_and_executes_nothing(how: str, tmp_path: Path) -> None:
    target, path = tmp_path / "executed", tmp_path / "evil.ckpt"
    if how == "pickle":
        path.write_bytes(pickle.dumps({RECORD_KEY: Payload(target)}))
    else:
        contents = {RECORD_KEY: {"format_version": Payload(target)}} if how == "in the record" else Payload(target)
        torch.save(contents, path, _use_new_zipfile_serialization=how != "torch legacy")
    refusal(path)
    assert not target.exists()


def test_a_foreign_lightning_checkpoint(tmp_path: Path) -> None:
    class Foreign(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(Foreign())
    trainer.save_checkpoint(tmp_path / "foreign.ckpt", weights_only=True)
    assert "state_dict" in torch.load(tmp_path / "foreign.ckpt", weights_only=True)
    assert "is not a checkpoint of this project" in refusal(tmp_path / "foreign.ckpt")


def test_a_lightning_checkpoint_with_objects_is_foreign_and_not_damaged(tmp_path: Path) -> None:
    class Foreign(L.LightningModule):
        def __init__(self, path: Path) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 2)

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(Foreign(tmp_path))
    trainer.save_checkpoint(tmp_path / "foreign.ckpt")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "foreign.ckpt")


def test_a_checkpoint_that_torch_has_saved_again_is_unsealed_and_not_damaged(
    runs: dict[str, tuple[Path, LanguageModel]], tmp_path: Path
) -> None:
    torch.save(torch.load(find(runs["mlp"][0]), weights_only=True), tmp_path / "again.ckpt")
    message = refusal(tmp_path / "again.ckpt")
    assert "again.ckpt: is unsealed (" in message
    assert "damaged" not in message


@pytest.mark.parametrize("contents", [torch.zeros(3), [1, 2], {}, {RECORD_KEY: None}, {RECORD_KEY: [1]}, 5])
def test_a_file_of_torch_that_is_no_checkpoint_of_ours(contents: Any, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "other.pt")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "other.pt")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None, "1"])
def test_another_format_version_is_named_with_ours(altered: Callable[..., Path], version: Any) -> None:
    path = altered(lambda checkpoint: checkpoint[RECORD_KEY].update(format_version=version))
    assert f"has format version {version}, this program reads {FORMAT_VERSION}" in refusal(path)


@pytest.mark.parametrize("architecture", ["mamba", "os.system", "makemore.models.mlp.MLP", None])
def test_only_a_registered_architecture_is_instantiated(altered: Callable[..., Path], architecture: Any) -> None:
    path = altered(lambda checkpoint: checkpoint[RECORD_KEY]["model"].update(architecture=architecture))
    assert "model.architecture must be one of bigram, " in refusal(path)


@pytest.mark.parametrize("characters", ["ahlnoz", "ahlnozëé"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_altered_vocabulary_size_is_noticed(
    altered: Callable[..., Path], architecture: str, characters: str
) -> None:
    refusal(
        altered(lambda checkpoint: checkpoint[RECORD_KEY]["vocabulary"].update(characters=characters), architecture)
    )


@pytest.mark.parametrize("arguments", [{"hidden_dim": 7}, {"block_size": 0}, {"depth": 2}, None])
def test_altered_arguments_of_the_network_are_noticed(altered: Callable[..., Path], arguments: Any) -> None:
    refusal(altered(lambda checkpoint: checkpoint[RECORD_KEY]["model"].update(arguments=arguments)))


@pytest.mark.parametrize(
    "keys",
    [
        ["state_dict"],
        ["state_dict", "network.W1"],
        [RECORD_KEY, "model"],
        [RECORD_KEY, "model", "architecture"],
        [RECORD_KEY, "model", "arguments"],
        [RECORD_KEY, "vocabulary"],
        [RECORD_KEY, "vocabulary", "characters"],
        [RECORD_KEY, "data"],
        [RECORD_KEY, "data", "options"],
        [RECORD_KEY, "data", "options", "path"],
        [RECORD_KEY, "data", "sha256"],
        [RECORD_KEY, "step"],
    ],
    ids=".".join,
)
def test_a_missing_part_is_noticed(altered: Callable[..., Path], keys: list[str]) -> None:
    def remove(checkpoint: Any) -> None:
        for key in keys[:-1]:
            checkpoint = checkpoint[key]
        del checkpoint[keys[-1]]

    assert "is damaged" in refusal(altered(remove))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("vocabulary characters", "ahlnozz"),
        ("vocabulary characters", "ahlno\n\u00eb"),
        ("vocabulary characters", "ahlnoz\ud800"),
        ("vocabulary characters", ["a"]),
        ("vocabulary boundary", torch.ones(3)),
        ("model arguments", {"hidden_dim": 10**12}),
        ("model arguments", {"hidden_dim": 10**6, "embedding_dim": 10**6}),
        ("model arguments", {1: 2}),
        ("model arguments", {"init": torch.ones(2)}),
        ("data options", {"path": "words.txt", "splits": [10**400, 0, 0]}),
        ("data options", {"path": "words.txt", "normalize": []}),
        ("data sha256", {}),
        ("data sha256", {"train": 1}),
        ("data sha256", {"val": "abc"}),
        ("step", float("inf")),
        ("step", -1),
        ("step", torch.ones(3)),
        ("format_version", torch.ones(3)),
        ("format_version", True),
    ],
)
def test_a_part_that_is_altered_is_noticed(altered: Callable[..., Path], keys: str, value: Any) -> None:
    *parents, last = keys.split()

    def change(checkpoint: Any) -> None:
        for key in (RECORD_KEY, *parents):
            checkpoint = checkpoint[key]
        checkpoint[last] = value

    refusal(altered(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update({"network.codes": state["network.codes"][:, None]}),
        lambda state: state.update({"network.codes": state["network.codes"][:-1]}),
        lambda state: state.update({"network.counts": state["network.counts"].double()}),
        lambda state: state.update({"network.base": 3}),
    ],
)
def test_altered_counts_are_noticed(altered: Callable[..., Path], change: Callable[[dict[str, Any]], None]) -> None:
    assert "is damaged" in refusal(altered(lambda checkpoint: change(checkpoint["state_dict"]), "ngram"))


def test_weights_that_are_no_numbers_end_in_one_line_each(altered: Callable[..., Path]) -> None:
    model = load(altered(lambda checkpoint: checkpoint["state_dict"]["network.W1"].fill_(torch.nan)))
    with pytest.raises(UserError, match="gives no probabilities"):
        model.nll(["anna"])
    with pytest.raises(UserError, match="gives no probabilities"):
        model.sample(1)


def test_an_unknown_part_of_the_record_is_noticed(altered: Callable[..., Path]) -> None:
    assert "is damaged" in refusal(
        altered(lambda checkpoint: checkpoint[RECORD_KEY]["vocabulary"].update(language="en"))
    )
    assert "is damaged" in refusal(altered(lambda checkpoint: checkpoint["state_dict"].update(extra=torch.zeros(1))))
