"""Random texts, configs and altered checkpoints: each ends in success or in one clean line.

Case n is a function of n alone. `MAKEMORE_FUZZ=n pytest -s -k "fuzz and few"` runs it alone.
"""

import os
import random
import resource
import runpy
import shlex
import shutil
import signal
import sys
import traceback
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf

import makemore.runs.train  # noqa: F401 - forked commands need not import it
from makemore.checkpoints import find
from makemore.runs.saving import AtomicCheckpointIO
from makemore.system.hydra_release import composing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of forks")

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
MEMORY = 3 * 2**30
NAMES = [
    first + last for first in ("an", "bo", "el", "zo\u00eb", "mi") for last in ("", "na", "ra", "l", "bel", "x y")
]
MODELS = {
    "ngram": ("model=ngram", "model.order=3"),
    "bigram": ("model=bigram", "trainer.max_steps=2", "data.batch_size=4"),
    "mlp": ("model=mlp", "trainer.max_steps=2", "data.batch_size=4", "model.hidden_dim=4", "model.embedding_dim=2"),
    "kneser_ney": ("model=kneser_ney", "model.order=3"),
    "gru": ("model=gru", "trainer.max_steps=2", "data.batch_size=4", "model.hidden_dim=4", "model.embedding_dim=2"),
    "transformer": ("model=transformer", "trainer.max_steps=2", "model.num_layers=1", "model.embedding_dim=4"),
}
SHORT = ("val_every=2", "checkpoint_every=2", "log_every=1", "num_samples=2")


@dataclass(frozen=True)
class Ended:
    """What a command printed and how it ended."""

    status: int
    err: str

    @property
    def kind(self) -> str:
        """`success`, `clean error`, or what is wrong with how it ended."""
        errors = [line for line in self.err.splitlines() if line.startswith("error:")]
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return f"killed by signal {number}" + (f" after {SECONDS} s" if number == signal.SIGALRM else "")
        code = os.WEXITSTATUS(self.status)
        if "Traceback" in self.err or "raised the following" in self.err:
            return "traceback"
        if code == 0 and not errors:
            return "success"
        if code == 2 and len(errors) == 1 and self.err.splitlines()[-1] == errors[0]:
            return "clean error"
        return f"exit code {code} with {len(errors)} lines of error"


def run(script: str, arguments: list[str], cwd: Path) -> Ended:
    """Run a command in a fork of this process, within limits of time and memory."""
    cwd.mkdir(exist_ok=True)
    sys.stdout.flush()
    with warnings.catch_warnings():
        # newer Pythons warn of threads, which the child never looks at
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be(script, arguments, cwd)
    status = os.waitpid(child, 0)[1]
    return Ended(status, (cwd / "stderr").read_text(encoding="utf-8", errors="backslashreplace"))


def _be(script: str, arguments: list[str], cwd: Path) -> NoReturn:
    """Be the command, from here to its end."""
    code = 1
    try:
        os.chdir(cwd)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", errors="backslashreplace")  # noqa: SIM115
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        signal.alarm(SECONDS)
        warnings.resetwarnings()
        sys.argv = [f"{script}.py", *arguments]
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # whatever it is, it is a failing case
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- texts


def damage_text(random: random.Random, raw: bytes) -> bytes:
    """Return a text with one thing done to it."""
    place = random.randint(0, len(raw))
    before, after = raw[:place], raw[place:]
    text = raw.decode("utf-8", "replace")

    def anything() -> str:
        top = random.choice((0x80, 0x300, 0x3000, 0x10000, 0x110000))
        return "".join(chr(random.randrange(top)) for _ in range(random.randint(1, 8)))

    changes: list[Callable[[], bytes]] = [
        lambda: before + random.randbytes(random.randint(1, 9)) + after,
        lambda: before + after[random.randint(0, 20) :],
        lambda: before,
        lambda: before + random.choice(("\0", "\t", "\x0b", "\x1c", "\x85", "\x7f", "\r", "\x1b[2J")).encode() + after,
        lambda: before + random.choice(("\u2028", "\u2029", "\ufeff", "\u200b", "\u202e", "\u0301")).encode() + after,
        lambda: before + anything().encode("utf-8", random.choice(("replace", "surrogatepass"))) + after,
        lambda: "".join(f"{anything()}\n" for _ in range(40)).encode("utf-8", "replace"),
        lambda: before + random.choice(("é", "x", ".", " ", "😀", "\n")).encode() * 10 ** random.randint(1, 5) + after,
        lambda: raw.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b" \n ", b"", "\u2028".encode(), b".\n"))),
        lambda: b"\xef\xbb\xbf" + raw,
        lambda: text.encode(random.choice(("utf-16", "utf-32-be", "utf-8-sig", "utf-7"))),
        lambda: before + after.decode("utf-8", "replace").encode("cp1252", "replace"),
        lambda: unicodedata.normalize(random.choice(("NFD", "NFKD")), text).encode(),
        lambda: raw.split(b"\n")[0] * random.randint(1, 3),
        lambda: (raw.split(b"\n")[0] + b"\n") * random.randint(1, 300),
        lambda: raw + "".join(f"{name}{number}\n" for number in range(300) for name in "ab").encode(),
        lambda: b"".join(random.sample(lines := raw.splitlines(keepends=True), len(lines))),
    ]
    return random.choice(changes)()


def random_text(random: random.Random) -> bytes:
    """Return a valid text, changed in up to four ways."""
    raw = "".join(f"{name}\n" for name in NAMES).encode()
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 4))):
        raw = damage_text(random, raw)
    return raw


def text_case(random: random.Random, cwd: Path, checkpoints: list[Path]) -> tuple[str, list[str]]:
    """Return a command about random files."""
    for name in ("text", "other"):
        (cwd / name).write_bytes(random_text(random))
    script = random.choice(("train", "train", "train", "score", "evaluate"))
    if script == "score":
        return script, [f"ckpt_path={random.choice(checkpoints)}", "words_file=text"]
    if script == "evaluate":
        return script, [f"ckpt_path={random.choice(checkpoints)}", "data.path=text"]
    options = {
        "data.splits": ("[0.8,0.1,0.1]", "[1,0,0]", "[0.5,0,0.5]"),
        "data.by": ("line", "shuffle", "randperm", "example"),
        "data.boundary": ("shared", "separate"),
        "data.boundary_at": ("first", "last"),
        "data.normalize": ("NFC", "NFKD", "null"),
        "data.max_length": ("1000", "1", "5", "null"),
        "data.max_lines": ("null", "1", "7"),
        "data.val_path": ("null", "other"),
    }
    chosen = [f"{key}={random.choice(values)}" for key, values in options.items() if random.random() < 0.4]
    return script, ["data=text", "data.path=text", *SHORT, *random.choice(list(MODELS.values())), *chosen]


# --- configs

NASTY = (
    *("0", "1", "2", "3", "-1", "0.5", "1.5", "-0.5", "1e-9", "1e30", "-1e30", "1e400", "nan", "inf", "-inf"),
    *(
        "100000",
        "1000000000000",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "1" + "0" * 400,
    ),
    *("null", "true", "false", "''", "' '", "abc", "'a b'", "é", "'é'", "'\U0001f600'", "'\\n'", "???", "'.'"),
    *("[]", "[1]", "[1,2]", "[0.8,0.1,0.1]", "[[1]]", "[null]", "[a,b]", "{}", "{a:1}", "{a:{b:[1]}}", "1,2"),
    *("${seed}", "${nowhere}", "'${'", "${now:%Y}", "a=b", "[", "'", "\udcff", "x" * 5000, "/", "..", "~", "-", "a:b"),
    *("{_target_:os.getcwd}", "{_target_:nowhere}", "{_target_:makemore.training.schedules.constant}"),
)
GROUPS = {
    "data": ("names", "text", "nothing"),
    "model": (
        *("mlp", "wavenet", "bigram", "ngram", "kneser_ney", "rnn", "gru", "lstm", "bow", "transformer"),
        *("mixture", "nothing"),
    ),
    "optimizer": ("sgd", "adamw"),
    "scheduler": ("constant", "step", "exponential_ramp", "cosine"),
    "callbacks": ("default", "early_stopping"),
    "trainer": ("default", "gpu"),
    "logger": ("default", "null"),
    "experiment": ("lessons/counts", "lessons/lr_range", "null"),
}
# many keys take one of these, so that what follows the first check is tried too
GOOD = ("0", "1", "2", "3", "5", "0.5", "0.01", "1e-3", "null", "true", "false", "[1,2]", "[0.5,0.9]", "text", "first")
# larger values are what was asked for, and take their time
SMALL = {
    "trainer.max_steps": tuple(value for value in NASTY if not value.isdigit() or len(value) == 1 or len(value) > 300),
    "compile": tuple(value for value in NASTY if value != "true"),
    "num_samples": tuple(value for value in NASTY if not value.isdigit() or len(value) == 1 or len(value) > 300),
}
ADDED = ("momentum", "depth", "path", "x", "_target_", "_partial_", "_convert_", "_recursive_", "_args_", "0", "é")


def keys_of(config: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a config, groups too."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{key}.")


@pytest.fixture(scope="module")
def keys() -> dict[str, list[str]]:
    """All keys of each command, whatever options are chosen."""

    def composed(script: str, *overrides: str) -> Iterator[str]:
        return keys_of(cast(dict[Any, Any], OmegaConf.to_container(compose(script, list(overrides)))))

    found = {script: set[str]() for script in ("train", "evaluate", "score", "sample")}
    with composing():
        for script, known in found.items():
            known.update(composed(script))
        for group, options in GROUPS.items():
            for option in options:
                if option not in ("mixture", "nothing", "null"):
                    found["train"].update(composed("train", f"{group}={option}"))
    return {script: sorted(known) for script, known in found.items()}


def misspelt(random: random.Random, key: str) -> str:
    """Return a key with one letter changed, missing or doubled."""
    place = random.randrange(len(key))
    return key[:place] + random.choice(("", "x", key[place] * 2)) + key[place + 1 :]


def override(random: random.Random, known: list[str]) -> str:
    """Return an override of a random key."""
    key = random.choice(known)
    what = random.random()
    if what < 0.08:
        return f"{misspelt(random, key)}={random.choice(NASTY)}"
    if what < 0.12:
        return f"~{key}"
    if what < 0.2:
        return f"+{key}.{random.choice(ADDED)}={random.choice(NASTY)}"
    if key in GROUPS and what < 0.8:
        return f"{key}={random.choice(GROUPS[key])}"
    values = GOOD if random.random() < 0.5 and key != "compile" else SMALL.get(key, NASTY)
    return f"{key}={random.choice(values)}"


def config_case(
    random: random.Random, cwd: Path, checkpoints: list[Path], keys: dict[str, list[str]]
) -> tuple[str, list[str]]:
    """Return a command with random overrides."""
    (cwd / "text").write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    script = random.choice(("train", "train", "train", "evaluate", "score", "sample"))
    wrong = [override(random, keys[script]) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    if script == "train":
        # in this order, as a later override wins; max_steps stays small whatever else is chosen
        usual = ["data=text", "data.path=text", *SHORT, *random.choice(list(MODELS.values()))]
        if not any(argument.startswith("trainer.max_steps=") for argument in [*usual, *wrong]):
            usual.append("trainer.max_steps=2")
        return script, [*usual, *wrong]
    usual = [f"ckpt_path={random.choice(checkpoints)}", *(["words=[anna]"] if script == "score" else [])]
    return script, [*usual, *wrong]


# --- checkpoints

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        3,
        63,
        2**31,
        2**63,
        -(2**70),
        10**12,
        0.5,
        -1.5,
        1e300,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "aa", "\n", "a\nb", "\0", "\ud800", "\u00e9", "mlp", "ngram", "bigram", "separate", "last", b"x"),
    *([], [1], [None], ["a"], (), {}, {"a": 1}, {1: 2}, {None: None}),
    *(
        torch.zeros(0),
        torch.zeros(()),
        torch.ones(3),
        torch.full((3, 3), torch.nan),
        torch.zeros(2, dtype=torch.int64),
    ),
    *(torch.zeros(1).expand(10**10), torch.zeros(2, 2, dtype=torch.complex64), torch.zeros(5, 5).to_sparse()),
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths to all that is in dicts and lists, themselves too."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from leaves(item, (*path, key))


def damage_tensor(random: random.Random, tensor: torch.Tensor) -> Any:
    """Return a tensor with other values, another shape or another type."""
    changes: list[Callable[[], torch.Tensor]] = [
        lambda: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else -tensor - 1,
        lambda: torch.full_like(tensor, 1e38) if tensor.is_floating_point() else tensor + 10**15,
        tensor.double,
        tensor.half,
        tensor.bool,
        lambda: tensor.to(torch.complex64),
        tensor.flatten,
        lambda: tensor[:-1] if tensor.ndim else tensor,
        lambda: tensor[..., None],
        lambda: tensor.flip(0) if tensor.ndim else tensor,
        lambda: tensor * 0,
    ]
    return random.choice(changes)()


def damage_record(random: random.Random, checkpoint: dict[str, Any]) -> None:
    """Change one random leaf, mostly of what loading reads."""
    # a change before may have deleted them
    read_by_loading = [name for name in ("makemore", "state_dict") if isinstance(checkpoint.get(name), dict)]
    top = random.choice([*read_by_loading[:1] * 3, *read_by_loading[1:], None, None])
    paths = list(leaves(checkpoint[top], (top,)) if top is not None else leaves(checkpoint))
    *parents, key = random.choice(paths)
    parent: Any = checkpoint
    for name in parents:
        parent = parent[name]
    what = random.random()
    if what < 0.15:
        del parent[key]
    elif isinstance(parent[key], torch.Tensor) and what < 0.7:
        parent[key] = damage_tensor(random, parent[key])
    elif isinstance(parent, dict) and what < 0.25:
        parent[random.choice(("x", 1, None, ""))] = random.choice(VALUES)
    elif isinstance(parent[key], str) and what < 0.5:
        parent[key] += random.choice(("x", "a", "\n", "\0", "\ud800", "\U0001f600", parent[key]))
    elif isinstance(parent[key], int) and what < 0.5:
        parent[key] += random.choice((-1, 1, 10, 10**6))
    else:
        parent[key] = random.choice(VALUES)


def damage_bytes(random: random.Random, raw: bytes) -> bytes:
    """Return a file with some bytes flipped, zeroed, missing or doubled."""
    place = random.randrange(len(raw))
    length = random.choice((1, 1, 1, 16, 512, len(raw)))
    before, struck, after = raw[:place], raw[place : place + length], raw[place + length :]
    changes: list[Callable[[], bytes]] = [
        lambda: before + bytes([struck[0] ^ 1 << random.randrange(8)]) + struck[1:] + after,
        lambda: before + bytes(len(struck)) + after,
        lambda: before + random.randbytes(len(struck)) + after,
        lambda: before + after,
        lambda: before,
        lambda: before + struck + struck + after,
    ]
    return random.choice(changes)()


def checkpoint_case(random: random.Random, cwd: Path, checkpoints: list[Path]) -> tuple[str, list[str]]:
    """Return a command about a checkpoint that was altered."""
    source, altered = random.choice(checkpoints), cwd / "altered.ckpt"
    if resumed := random.random() < 0.3:
        shutil.copytree(source.parents[1], cwd / "run")
        altered = cwd / "run" / source.relative_to(source.parents[1])
    if random.random() < 0.35:
        altered.write_bytes(damage_bytes(random, source.read_bytes()))
    else:
        checkpoint = torch.load(source, weights_only=True)
        for _ in range(random.choice((1, 1, 2))):
            damage_record(random, checkpoint)
        AtomicCheckpointIO().save_checkpoint(checkpoint, altered)
    if resumed:
        return "train", ["resume=run", *random.choice(([], ["trainer.max_steps=5"]))]
    commands: list[tuple[str, list[str]]] = [
        ("evaluate", []),
        ("evaluate", [f"data.path={source.parents[2] / 'text'}"]),
        ("score", ["words=[anna,bo]"]),
        ("sample", ["num_samples=3", "max_length=20"]),
        ("sample", ["num_samples=3", "max_length=20", "prompt=an", "unseen=true"]),
    ]
    script, arguments = random.choice(commands)
    return script, ["ckpt_path=altered.ckpt", *arguments]


# --- the trial


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of each model, trained on the names, and of each mixture with counts."""
    found = []
    for name, arguments in MODELS.items():
        cwd = tmp_path_factory.mktemp(name)
        (cwd / "text").write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
        ended = run("train", ["data=text", "data.path=text", "hydra.run.dir=run", *SHORT, *arguments], cwd)
        assert ended.kind == "success", ended.err
        found += [find(path) for path in (cwd / "run", cwd / "run" / "mixture") if path.exists()]
    return found


def trial(numbers: list[int], cwd: Path, checkpoints: list[Path], keys: dict[str, list[str]]) -> Counter[str]:
    """Run cases; return how many of each kind ended how. One that ended badly is printed with all that it needs."""
    counts, bad = Counter[str](), []
    for number in numbers:
        chosen = random.Random(number)
        directory = cwd / str(number)
        directory.mkdir()
        kind = ("text", "config", "checkpoint")[number % 3]
        if kind == "text":
            script, arguments = text_case(chosen, directory, checkpoints)
        elif kind == "config":
            script, arguments = config_case(chosen, directory, checkpoints, keys)
        else:
            script, arguments = checkpoint_case(chosen, directory, checkpoints)
        ended = run(script, arguments, directory)
        counts[f"{kind}: {ended.kind}"] += 1
        if ended.kind not in ("success", "clean error"):
            line = ascii(shlex.join([f"{script}.py", *arguments]))
            bad.append(f"case {number} ({kind}): {ended.kind}\n  cd {directory}; {line}\n{ended.err[-1500:]}")
            print(bad[-1])
    assert not bad, "\n".join([f"{len(bad)} of {len(numbers)} cases:", *bad])
    return counts


@pytest.mark.full
def test_a_few_random_inputs_end_in_success_or_one_line(
    tmp_path: Path, checkpoints: list[Path], keys: dict[str, list[str]]
) -> None:
    alone = os.environ.get("MAKEMORE_FUZZ")
    trial([int(alone)] if alone else list(range(36)), tmp_path, checkpoints, keys)


@pytest.mark.slow
def test_thousands_of_random_inputs_end_in_success_or_one_line(
    tmp_path: Path, checkpoints: list[Path], keys: dict[str, list[str]]
) -> None:
    counts = trial(list(range(2400)), tmp_path, checkpoints, keys)
    for what, count in sorted(counts.items()):
        print(f"{count:6,} {what}")
