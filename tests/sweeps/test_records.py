"""Checks what is read of a sweep's directory: what was written, and nothing where that is damaged."""

import json
import math
from pathlib import Path

import fabricated
import pytest
from fabricated import job

from makemore.errors import UserError
from makemore.sweeps.records import Reference, SweepRecord, read_job, read_jobs, read_sweep, write_job

REFERENCE = Reference("lesson", "train/loss", "model.l2", {0.0001: 2.5635, 1.0: 2.8925})


@pytest.mark.parametrize(
    "record",
    [
        SweepRecord(["-m", "seed=1,2"], ["seed"]),
        SweepRecord(["-m", "b=é"], ["a", "b"], 2, REFERENCE, "41_7"),
    ],
    ids=["least", "everything"],
)
def test_a_sweep_is_read_as_it_was_written(record: SweepRecord, tmp_path: Path) -> None:
    record.write(tmp_path)
    assert read_sweep(tmp_path) == record


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"reference": null}', '{"command": [], "keys": [], "reference": 3}', "\udce9"],
)
def test_a_damaged_record_of_a_sweep_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"sweep\.json: cannot be read"):
        read_sweep(tmp_path)


def test_a_directory_that_is_no_sweep_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep\.json: no such file; give the directory of a sweep"):
        read_sweep(tmp_path)


def test_a_job_that_began_is_read_as_it_was_written(tmp_path: Path) -> None:
    differs = {"optimizer.lr": 0.1, "scheduler.milestones": [1, 2], "data.path": "é.txt", "data.batch_size": None}
    write_job(tmp_path / "a", ["optimizer.lr=0.1"], differs, "failed", "no\nroom")
    read = read_job(tmp_path / "a")
    assert read is not None
    assert (read.name, read.overrides, read.differs) == ("a", ["optimizer.lr=0.1"], differs)
    assert (read.status, read.message, read.nlls, read.objective) == ("failed", "no\nroom", {}, None)
    assert read.pid > 0


def test_a_finished_job_has_the_results_of_its_run(tmp_path: Path) -> None:
    finished = job({"seed": 1}, 2.1, last={"train/loss": 2.2, "val/nll": 2.1}, host="here", pid=7)
    (read,) = read_jobs(fabricated.write(tmp_path / "sweep", [finished]))
    assert read.nlls == {"train": 2.0, "val": 2.1}
    assert (read.objective, read.steps, read.seconds, read.host, read.pid) == (2.1, 1000, 1.25, "here", 7)
    assert read.last == {"step": 1000, "train/loss": 2.2, "val/nll": 2.1}


def test_a_pruned_job_has_the_results_of_its_run_and_has_finished_once_it_took_more_steps(tmp_path: Path) -> None:
    results = {"train/nll": 2.0, "val/nll": 2.1, "steps": 10, "seconds": 1.0}
    write_job(tmp_path, [], {}, "pruned", steps=10)
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    pruned = read_job(tmp_path)
    assert pruned is not None
    assert (pruned.status, pruned.is_complete, pruned.nll, pruned.steps) == ("pruned", True, 2.1, 10)
    # by a resume of its own
    (tmp_path / "metrics.json").write_text(json.dumps(results | {"steps": 40}))
    resumed = read_job(tmp_path)
    assert resumed is not None
    assert (resumed.status, resumed.steps) == ("finished", 40)


def test_the_last_value_of_a_column_may_stand_above_the_last_row(tmp_path: Path) -> None:
    fabricated.write(tmp_path / "sweep", [job({"seed": 1}, 2.1, name="a")])
    (tmp_path / "sweep" / "a" / "metrics.csv").write_text("step,train/loss,val/nll\n0,3.3,\n1,3.1,\n2,,2.9\n")
    (read,) = read_jobs(tmp_path / "sweep")
    assert read.last == {"step": 2, "train/loss": 3.1, "val/nll": 2.9}


def test_a_counting_model_may_have_an_infinite_nll(tmp_path: Path) -> None:
    counted = job({"model.order": 4}, 2.0, nlls={"train": 1.9, "val": math.inf, "test": math.inf})
    (read,) = read_jobs(fabricated.write(tmp_path / "sweep", [counted]))
    assert read.nlls == {"train": 1.9, "val": math.inf, "test": math.inf}
    assert read.objective == math.inf


def test_the_objective_is_that_of_training_without_validation() -> None:
    assert job({}, 2.0, nlls={"train": 1.9}).objective == 1.9


def test_jobs_are_read_by_name_and_other_directories_are_none(tmp_path: Path) -> None:
    jobs = [job({"seed": seed}, 2.0, name=name) for seed, name in enumerate("cab")]
    fabricated.write(tmp_path / "sweep", jobs)
    (tmp_path / "sweep" / "notes").mkdir()
    assert [read.name for read in read_jobs(tmp_path / "sweep")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, content) for name in ("job.json", "metrics.json") for content in (b"", b"{", b"[1]", b"{}", b"\xe9")),
        ("job.json", b'{"overrides": [], "differs": {}, "status": "finished", "unheard-of": 1}'),
        ("metrics.json", b'{"val/nll": "low", "steps": 1, "seconds": 1}'),
        *(("metrics.csv", content) for content in (b"step\nx\n", b"step\n1,2\n", b"\xe9")),
    ],
)
def test_a_damaged_job_is_none_and_hides_no_other(name: str, content: bytes, tmp_path: Path) -> None:
    fabricated.write(tmp_path / "sweep", [job({"seed": 1}, 2.0, name="a"), job({"seed": 2}, 2.1, name="b")])
    (tmp_path / "sweep" / "a" / name).write_bytes(content)
    assert [read.name for read in read_jobs(tmp_path / "sweep")] == ["b"]


def test_a_job_that_finished_without_results_is_none(tmp_path: Path) -> None:
    fabricated.write(tmp_path / "sweep", [job({"seed": 1}, 2.0, name="a")])
    (tmp_path / "sweep" / "a" / "metrics.json").unlink()
    assert read_jobs(tmp_path / "sweep") == []


def test_a_job_needs_no_curves(tmp_path: Path) -> None:
    fabricated.write(tmp_path / "sweep", [job({"seed": 1}, 2.0, name="a")])
    (tmp_path / "sweep" / "a" / "metrics.csv").unlink()
    (read,) = read_jobs(tmp_path / "sweep")
    assert (read.objective, read.last) == (2.0, {})


def test_what_is_written_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    write_job(tmp_path, ["seed=1"], {"seed": 1}, "running")
    text = (tmp_path / "job.json").read_text()
    assert json.loads(text)["status"] == "running"
    assert len(text.splitlines()) > 5
