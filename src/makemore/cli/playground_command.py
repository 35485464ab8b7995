"""`makemore playground`: a page on this machine in which trained models answer what is typed."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from makemore.cli.command import collect_rarely, exit_on_error, split_keys
from makemore.errors import UserError
from makemore.system import signals

_HELP = """\
Play with trained models in the browser: a page on 127.0.0.1 that needs no network and tells nobody anything.

With every letter typed it shows the distribution of the next one, the surprise of each, the NLL with its rank among
the text's items, and the likeliest continuations; it makes up items from what is typed. Several models stand side by
side. Ctrl-C ends it."""
_EXAMPLES = """\
keys:
  top=1        of a sweep, how many of its best jobs are shown
  port=7860    of the page; 0 for a free one

examples:
  makemore playground logs/train/runs/first
  makemore playground logs/train/runs/first logs/train/runs/first/mixture    a network, and with counts
  makemore playground logs/train/runs/first/checkpoints/*.ckpt               the best, and the last
  makemore playground logs/sweep_seeds/multiruns/first top=2                 the two best jobs of a sweep
  makemore playground latest port=0

From a checkout, python scripts/playground.py is the same command. The rest is in docs/playground.md."""
# models that have room side by side
_MOST = 4


def main() -> None:
    """Serve the page until Ctrl-C, as the command line says."""
    collect_rarely()
    # until the page is served a signal quits at once
    with exit_on_error(), signals.handling():
        _play(**vars(_parsed(sys.argv[1:])))


def _play(paths: list[str], top: str, port: str) -> None:
    most, number = _whole("top", top, 1, _MOST), _whole("port", port, 0, 65535)
    from makemore.cli.finding import load_models  # seconds, which a wrong number need not wait for
    from makemore.overrides import install, set_threads
    from makemore.runs.own_models import import_own_models

    set_threads(1)
    import_own_models()
    models = load_models(paths, most)
    if len(models) > _MOST:
        raise UserError(f"{len(models)} models are given; at most {_MOST} have room side by side, name fewer")
    try:
        from makemore.playground.serving import PageServer, listen
        from makemore.playground.wiring import application
    except ModuleNotFoundError as error:
        raise UserError(
            f"the playground needs {error.name}, which is not installed: {install('playground')}"
        ) from error
    from makemore.playground.model_view import views_of

    listening = listen(number)
    views = views_of(models)
    app = application(views)
    for view in views:
        view.known.start()
    PageServer(app, listening, lambda url: print(f"{url} (Ctrl-C ends it)", flush=True)).serve_page()
    for view in views:
        view.known.stop()


def _whole(key: str, value: str, at_least: int, at_most: int) -> int:
    if not value.isdecimal() or not at_least <= int(value) <= at_most:
        raise UserError(f"{key} must be a whole number from {at_least} to {at_most}, not {value!r}")
    return int(value)


def _parsed(arguments: list[str]) -> Namespace:
    keys, rest = split_keys(arguments, ("top", "port"))
    parser = ArgumentParser(description=_HELP, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    what = "a checkpoint, the directory of a run or a sweep, latest, or a pattern in quotes"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=what)
    return Namespace(**vars(parser.parse_args(rest)), top=keys.get("top", "1"), port=keys.get("port", "7860"))
