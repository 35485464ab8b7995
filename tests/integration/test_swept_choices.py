"""Sweeps over choices of a group whose keys differ: the jobs that lack a key fail by name, the others run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trials import Outcome, records, run, table

import makemore

Command = Callable[..., Outcome]

SLOW = pytest.mark.slow
SHORT = (
    *("trainer.max_steps=4", "val_every=4", "steps_per_execution=4", "num_samples=1", "watch=none", "threads=1"),
    "logger.tensorboard=null",
)
LACKS = "model=bigram has no hidden_dim; it has architecture, init, l2"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments of every sweep here."""
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    return ["-m", "data=text", f"data.path={path}", *SHORT, "hydra.sweep.dir=S"]


def failures(sweep_dir: Path) -> dict[str, str]:
    """The messages of the failed jobs of a sweep, by their names without the hash; the others have finished."""
    of_jobs = records(sweep_dir)
    assert {job["status"] for job in of_jobs.values()} <= {"finished", "failed"}
    return {name.rpartition("-")[0]: job["message"] for name, job in of_jobs.items() if job["status"] == "failed"}


@pytest.mark.parametrize("launcher", ["basic", pytest.param("vectorized", marks=SLOW)])
def test_a_swept_key_of_the_users_own_is_read_where_values_refer_to_it(
    launcher: str, given: list[str], command: Command, tmp_path: Path
) -> None:
    sweep = (*given, f"hydra/launcher={launcher}", "model=mlp", "+width=5,6", "model.hidden_dim=${width}")
    assert command("train", *sweep).code == 0
    widths = {name.rpartition("-")[0]: makemore.load(tmp_path / "S" / name) for name in records(tmp_path / "S")}
    assert {name: model.arguments["hidden_dim"] for name, model in widths.items()} == {"width_5": 5, "width_6": 6}
    error = "the first: +width=5: nothing refers to width; a value may, as in 'model.block_size=${width}'"
    assert command("train", *given, "+width=5,6").error.endswith(error)


@pytest.mark.parametrize("launcher", ["basic", pytest.param("vectorized", marks=SLOW)])
def test_jobs_that_lack_a_key_fail_by_name_and_the_others_run(
    launcher: str, given: list[str], command: Command, tmp_path: Path
) -> None:
    sweep = (*given, f"hydra/launcher={launcher}", "model=mlp,bigram", "seed=0,1", "model.hidden_dim=5")
    outcome = command("train", *sweep)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err + outcome.out
    sweep_dir = tmp_path / "S"
    assert failures(sweep_dir) == {"model_bigram-seed_0": LACKS, "model_bigram-seed_1": LACKS}
    assert outcome.out.count(LACKS) == 2
    assert "2 finished, 2 failed" in outcome.out
    assert [(row["model"], row["status"]) for row in table(sweep_dir)] == [
        *[("mlp", "finished")] * 2,
        *[("bigram", "failed")] * 2,
    ]
    for name, job in records(sweep_dir).items():
        assert "model.hidden_dim=5" in job["overrides"]
        # there is nothing to resume in the directory of one that could not be composed
        assert (sweep_dir / name / ".hydra" / "config.yaml").exists() == (job["status"] == "finished")
    again = command("train", *sweep)
    assert again.code == 1
    assert failures(sweep_dir) == {"model_bigram-seed_0": LACKS, "model_bigram-seed_1": LACKS}
    assert len(records(sweep_dir)) == 4


def test_where_all_jobs_lack_the_key_it_is_one_refusal(given: list[str], command: Command, tmp_path: Path) -> None:
    outcome = command("train", *given, "model=bigram,ngram", "model.hidden_dim=5")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert f"none of the sweep's jobs could run; the first: {LACKS}" in outcome.err
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize(
    ("overrides", "failed"),
    [
        pytest.param(
            ["optimizer=sgd,adamw", "optimizer.momentum=0.5"],
            {"optimizer_adamw": "optimizer=adamw has no momentum; it has lr, betas, weight_decay, fused, "},
            id="another group",
        ),
        pytest.param(
            ["scheduler=step,cosine", "scheduler.gamma=0.5", "hydra/launcher=vectorized"],
            {"scheduler_cosine": "scheduler=cosine has no gamma; it has warmup, total_steps, final"},
            id="a key in which members of a group differ",
            marks=SLOW,
        ),
        pytest.param(
            ["watch=none,default", "watch.weights.every=4"],
            {"watch_none": "watch=none has no weights.every; it has no keys"},
            id="a key two levels below",
            marks=SLOW,
        ),
        pytest.param(
            ["model=bigram,mlp", "~model.num_layers"],
            {"model_bigram": "has no num_layers"},
            id="to delete",
            marks=SLOW,
        ),
        pytest.param(
            ["optimizer=sgd,adamw", "+optimizer.betas=[0.9,0.99]"],
            {"optimizer_sgd": "unexpected keyword argument 'betas'"},
            id="to add",
            marks=SLOW,
        ),
        pytest.param(
            ["optimizer=sgd,adamw", "+optimizer.momentum=0.5"],
            {"optimizer_sgd": "optimizer=sgd has momentum already; take out the +", "optimizer_adamw": "unexpected"},
            id="to add where it is already",
            marks=SLOW,
        ),
        pytest.param(
            ["num_samples=1", "model=mlp,bigram", "log_every=${model.num_layers}"],
            {"model_bigram": "num_layers"},
            id="a reference",
            marks=SLOW,
        ),
        pytest.param(
            ["experiment=lessons/mlp,lessons/bigram", "model.hidden_dim=5", "trainer.max_steps=4", "num_samples=1"],
            {"experiment_lessons_bigram": LACKS},
            id="a choice within an experiment",
            marks=SLOW,
        ),
        pytest.param(
            ["experiment=lessons/mlp", "model=mlp,bigram", "trainer.max_steps=4"],
            {"model_bigram": "model bigram takes no block_size, embedding_dim, hidden_dim; it takes init; "},
            id="keys of an experiment",
            marks=SLOW,
        ),
    ],
)
def test_every_kind_of_key_of_another_choice(
    overrides: list[str], failed: dict[str, str], given: list[str], command: Command, tmp_path: Path
) -> None:
    outcome = command("train", *given, *(["model=mlp"] if "model" not in " ".join(overrides) else []), *overrides)
    if len(failed) == 2:
        assert outcome.code == 2
        assert outcome.err.startswith("error: none of the sweep's jobs could run; the first: ")
        return
    assert outcome.code == 1, outcome.err
    found = failures(tmp_path / "S")
    assert found.keys() == failed.keys()
    for name, message in failed.items():
        assert message in found[name]
        assert "\n" not in found[name]


def test_a_misspelt_choice_is_refused_before_any_job(given: list[str], command: Command, tmp_path: Path) -> None:
    outcome = command("train", *given, "model=mlp,bigrm", "model.hidden_dim=5")
    assert outcome.code == 2
    assert "did you mean model=bigram?" in outcome.err
    assert not (tmp_path / "S").exists()


@pytest.mark.slow
def test_a_report_has_the_failed_jobs_in_its_table(
    given: list[str], command: Command, tmp_path: Path, no_drawing: None
) -> None:
    command("train", *given, "model=mlp,bigram", "model.hidden_dim=5")
    outcome = command("report", "S")
    assert outcome.code == 0, outcome.err
    assert LACKS in (tmp_path / "S" / "report.html").read_text()


@pytest.mark.parametrize(
    "launcher",
    [pytest.param(name, marks=SLOW) for name in ("joblib", "ray", "submitit_local")],
)
def test_by_each_launcher(launcher: str, given: list[str], tmp_path: Path) -> None:
    line = (*given, f"hydra/launcher={launcher}", "model=mlp,bigram", "model.hidden_dim=5")
    outcome = run("train", *line, cwd=tmp_path)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err + outcome.out
    assert failures(tmp_path / "S") == {"model_bigram": LACKS}
    assert len(records(tmp_path / "S")) == 2


@pytest.mark.slow
def test_by_a_search(given: list[str], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2")
    # the first choice lacks the key
    choices = ("model=choice(bigram,mlp)", "model.hidden_dim=choice(4,5)", "optimizer.lr=0.01")
    outcome = run("train", *given, *search, *choices, cwd=tmp_path)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err + outcome.out
    found = failures(tmp_path / "S")
    assert set(found.values()) == {LACKS}
    assert len(found) < len(records(tmp_path / "S"))
    assert all("model_bigram" in name for name in found)
    refused = run("train", *given, *search, "model=choice(bigram,ngram)", *choices[1:], cwd=tmp_path / "S")
    assert refused.code == 2
    assert "none of the sweep's jobs could run" in refused.err
    assert json.loads((tmp_path / "S" / "sweep.json").read_text())["keys"] == ["model", "model.hidden_dim"]
