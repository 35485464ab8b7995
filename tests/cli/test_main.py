"""Checks what `makemore` answers by itself, which is quick, and what it hands on."""

import subprocess
import sys

import pytest

from makemore.cli.main import COMMANDS, HYDRA_COMMANDS, main
from makemore.overrides import as_typed


def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/makemore", *arguments])
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_it_says_which_commands_there_are(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(monkeypatch, capsys, *arguments)
    assert (code, err) == (0, "")
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert len(out.splitlines()) < 15


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("trian", "there is no command trian; did you mean train?"),
        ("xyz", "there is no command xyz; there are train, evaluate, score, sample, report, mix, export, playground"),
        ("model=mlp", "model=mlp comes after a command, as in makemore train model=mlp;"),
        ("-m", "-m comes after a command, as in makemore train -m;"),
    ],
)
def test_another_name_is_one_line(
    argument: str, error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(monkeypatch, capsys, argument)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {error}")


def test_it_answers_without_heavy_imports() -> None:
    heavy = "('torch', 'lightning', 'hydra')"
    line = f"import sys; from makemore.cli.main import main; main(); print([n for n in {heavy} if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("[]\n")


@pytest.mark.parametrize(("argv", "typed"), [("makemore train", "makemore"), ("scripts/train.py", "python scripts/")])
def test_commands_are_printed_as_they_were_typed(argv: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [argv])
    assert as_typed("sample") == f"{typed} sample".replace("/ sample", "/sample.py")


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("makemore ", [*COMMANDS]),
        ("makemore s", ["score", "sample"]),
        ("/usr/bin/makemore train model=ls", ["model=lstm"]),
        ("makemore train model=mlp optimizer.l", ["optimizer.lr="]),
        ("makemore sample  num_s", ["num_samples="]),
        ("makemore report ", []),
        ("makemore nonsense x", []),
    ],
)
def test_a_shell_completes_commands_and_their_overrides(
    line: str, choices: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    code, out, err = answer(monkeypatch, capsys, "-sc", "query=bash")
    assert (code, out.split(), err) == (0, choices, "")


def test_completion_is_installed_for_makemore(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    code, out, err = answer(monkeypatch, capsys, "-sc", "install=bash")
    assert (code, err) == (0, "")
    assert out.endswith("complete -o nospace -o default -F hydra_bash_completion makemore\n")
    assert set(HYDRA_COMMANDS) < set(COMMANDS)
