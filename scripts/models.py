"""Train models on texts, and write the tables of docs/models.md: python scripts/models.py [MODEL ...] [--text TEXT].

Without a MODEL it trains all, on the project's text and the lessons', which takes hours; the other rows stay as they
are in docs/models.json. Texts of other kinds are asked for with --text, and made as docs/models.md says.
The lessons' file is downloaded unless MAKEMORE_NAMES is the path of a copy. Runs are left in logs/models.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from makemore.cli.command import exit_on_error
from makemore.errors import one_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE, PICTURE = (ROOT / "docs" / f"models.{kind}" for kind in ("json", "md", "png"))


def main(models: Sequence[str], texts: Sequence[str]) -> None:
    """Train models on texts, and write their results."""
    from model_page.page import draw, with_tables
    from model_page.rows import ALL_TEXTS, MODELS, read_results, result_of, write_results

    results = read_results(RESULTS)
    for model in models:
        for text in texts:
            run_dir = Path("logs/models").absolute() / f"{model} {text}".replace(",", "").replace(" ", "_")
            line = [*MODELS[model], *ALL_TEXTS[text], "watch=none", f"hydra.run.dir={run_dir}"]
            print("python scripts/train.py", shlex.join(line), flush=True)
            ended = subprocess.run([sys.executable, str(ROOT / "scripts" / "train.py"), *line], check=False)
            if ended.returncode:
                # the command has said why
                sys.exit(ended.returncode)
            results[model, text] = result_of(model, text, run_dir)
            # what is done is kept if the next one fails
            write_results(RESULTS, results)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    draw(results, PICTURE)


def parse() -> tuple[list[str], list[str]]:
    """Return the models and the texts that are asked for, all for none; answer --help, and refuse all else."""
    from model_page.rows import ALL_TEXTS, MODELS, TEXTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--text", help=", ".join(ALL_TEXTS))
    arguments = parser.parse_args()
    models = [one_of("MODEL", name, tuple(MODELS)) for name in arguments.models]
    texts = [one_of("--text", arguments.text, tuple(ALL_TEXTS))] if arguments.text else list(TEXTS)
    return models or list(MODELS), texts


if __name__ == "__main__":
    with exit_on_error():
        main(*parse())
