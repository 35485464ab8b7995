"""The panels of the playground as HTML and SVG, made of numbers alone; whatever comes from outside is escaped."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from makemore.data.vocabulary import Vocabulary
from makemore.inference.continuations import Continuation
from makemore.inference.diagnosis import Array
from makemore.inference.scoring import WordScore
from makemore.system.console import visible

# how the end of an item, a start token of its own, and what cannot be seen are shown
END, _START = "▪", "▫"
_SPACES = {" ": "␣", "\u00a0": "␣", "\u3000": "␣"}
# the most bars that have room side by side, and those with their percentage above
_BARS, _LABELLED = 40, 6
# units of the tree: between levels, between leaves, and of the text after a leaf
_STEP, _ROW, _TEXT = 32, 24, 175
# the last characters of a beginning that stand in that text
_BEFORE = 5
# side of the plane of the embedding, and its margin
_SIDE, _MARGIN = 320, 16


def token_label(vocabulary: Vocabulary, token: int) -> str:
    """Return how a token is shown, not escaped: its character, or `END`."""
    if token in (vocabulary.start, vocabulary.end):
        return END if token == vocabulary.end else _START
    return with_spaces(vocabulary.decode([token]))


def with_spaces(text: str) -> str:
    """Return text with spaces that can be seen, and escapes for what else cannot be: tabs, signs of direction."""
    return visible("".join(_SPACES.get(character, character) for character in text))


def percent(probability: float) -> str:
    """Return a probability in percent, with two significant digits."""
    share = 100 * probability
    if share < 0.01:
        return "<0.01" if share else "0"
    digits = 0 if share >= 10 else 1 if share >= 1 else 2
    return f"{share:.{digits}f}"


def error_line(message: str) -> str:
    """Return an error as one line."""
    return f'<p class="problem" role="alert">{escape(message)}</p>'


def distribution(log_probs: Sequence[float], vocabulary: Vocabulary) -> str:
    """Return the bars of the next token's probability, given its log-probabilities (V,), in the vocabulary's order.

    The tallest has the full height. Of a large vocabulary there are the likeliest.
    """
    tokens = [token for token in range(vocabulary.size) if token != vocabulary.start or token == vocabulary.end]
    likeliest = sorted(tokens, key=lambda token: (-log_probs[token], token))
    kept, labelled = sorted(likeliest[:_BARS]), likeliest[:_LABELLED]
    top = math.exp(log_probs[likeliest[0]])
    bars = []
    for token in kept:
        probability = math.exp(log_probs[token])
        name = escape(token_label(vocabulary, token))
        number = percent(probability) if token in labelled and probability >= 0.01 else ""
        bars.append(
            f'<div class="bar" title="{name} {percent(probability)}%"><span class="number">{number}</span>'
            f'<i style="height:{100 * probability / top:.1f}%"></i><b>{name}</b></div>'
        )
    told = ", ".join(f"{token_label(vocabulary, token)} {percent(math.exp(log_probs[token]))}%" for token in labelled)
    left_out = f'<p class="soft">the {_BARS} likeliest of {len(tokens)} characters</p>' if len(tokens) > _BARS else ""
    label = escape(f"Probability of the next character: {told}", quote=True)
    return f'<div class="bars" role="img" aria-label="{label}">{"".join(bars)}</div>{left_out}'


def tree(beginning: str, levels: Sequence[Sequence[Continuation]], vocabulary: Vocabulary) -> str:
    """Return the tree of continuations of a beginning, the likeliest above, each line as thick as it is probable.

    After a leaf stands the whole item, with its probability after the beginning; a click on it types it.
    """
    children: list[dict[int, list[int]]] = [{} for _ in levels]
    for level, continuations in zip(children, levels, strict=True):
        for place, each in enumerate(continuations):
            level.setdefault(each.parent, []).append(place)
    leaves: list[tuple[int, int]] = []
    heights: dict[tuple[int, int], float] = {}

    def put(depth: int, place: int) -> float:
        below = children[depth + 1].get(place, []) if depth + 1 < len(levels) else []
        if not below:
            heights[depth, place] = (len(leaves) + 0.5) * _ROW
            leaves.append((depth, place))
        else:
            rows = [put(depth + 1, child) for child in below]
            heights[depth, place] = (rows[0] + rows[-1]) / 2
        return heights[depth, place]

    rows = [put(0, place) for place in children[0].get(0, [])] if levels else []
    root = (rows[0] + rows[-1]) / 2 if rows else _ROW / 2
    marks = list(_branches(levels, heights, root, vocabulary))
    for depth, place in leaves:
        marks.append(_leaf(beginning, levels[depth][place], (depth + 1) * _STEP, heights[depth, place], vocabulary))
    width, height = len(levels) * _STEP + _TEXT, max(len(leaves), 1) * _ROW
    return (
        f'<svg class="tree" viewBox="0 0 {width} {height}" style="max-width:{1.25 * width:.0f}px" role="group" '
        f'aria-label="The likeliest continuations">{"".join(marks)}</svg>'
    )


def _leaf(beginning: str, leaf: Continuation, x: float, y: float, vocabulary: Vocabulary) -> str:
    """Return the text after a leaf at (x, y)."""
    is_whole = leaf.tokens[-1] == vocabulary.end
    item = beginning + vocabulary.decode([token for token in leaf.tokens if token != vocabulary.end])
    cut = max(len(beginning) - _BEFORE, 0)
    text = escape(("…" if cut else "") + with_spaces(item[cut:]))
    typed, label = escape(item, quote=True), escape(with_spaces(item), quote=True)
    return (
        f'<text class="leaf{" whole" if is_whole else ""}" x="{x + 22}" y="{y + 5:.1f}" data-type="{typed}" '
        f'role="button" tabindex="0" aria-label="type {label}">{text}{"" if is_whole else "…"}'
        f'<tspan class="soft" dx="6">{percent(math.exp(leaf.log_prob))}%</tspan></text>'
    )


def _branches(
    levels: Sequence[Sequence[Continuation]],
    heights: dict[tuple[int, int], float],
    root: float,
    vocabulary: Vocabulary,
) -> Iterator[str]:
    """Yield the lines of a tree, and the characters at their ends."""
    yield f'<circle cx="10" cy="{root:.1f}" r="4"/>'
    for depth, level in enumerate(levels):
        for place, each in enumerate(level):
            x, y = 10 + depth * _STEP, heights[depth, place]
            y_before = heights[depth - 1, each.parent] if depth else root
            begins, ends = x + (10 if depth else 5), x + _STEP - 10
            middle = (begins + ends) / 2
            thickness = max(8 * math.sqrt(math.exp(each.log_prob)), 0.8)
            yield (
                f'<path d="M{begins} {y_before:.1f}C{middle} {y_before:.1f} {middle} {y:.1f} {ends} {y:.1f}" '
                f'stroke-width="{thickness:.1f}"/>'
            )
            token = escape(token_label(vocabulary, each.tokens[-1]))
            yield f'<text class="node" x="{x + _STEP}" y="{y + 5:.1f}">{token}</text>'


def surprises(score: WordScore, vocabulary: Vocabulary) -> str:
    """Return the characters of a word and its end, each on a ground that is the deeper the more surprising it is.

    The surprise of a character is its NLL; that of the uniform distribution has two thirds of the full depth.
    """
    uniform = math.log(vocabulary.size)
    cells = []
    for character, log_prob in zip([*score.word, END], score.log_probs, strict=True):
        depth = min(-log_prob / uniform / 1.5, 1.0)
        number = "∞" if log_prob == -math.inf else f"{abs(log_prob):.1f}"
        title = f"probability {percent(math.exp(log_prob))}%"
        cells.append(
            f'<span class="cell" style="--depth:{100 * depth:.0f}%" title="{title}">'
            f"<b>{escape(with_spaces(character))}</b><small>{number}</small></span>"
        )
    label = escape(f"NLL of each character of {with_spaces(score.word)}, in nats, its end included", quote=True)
    return f'<div class="cells" role="group" aria-label="{label}">{"".join(cells)}</div>'


def plane(points: Array, labels: Sequence[str], typed: str) -> str:
    """Return points (S, 2) of a plane with their labels, those of the characters of a typed word in colour."""
    low, high = points.min(0), points.max(0)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    marks, seen = [], set(map(with_spaces, typed))
    for (x, y), label in zip((points - middle) * scale, labels, strict=True):
        place = f'x="{_SIDE / 2 + x:.1f}" y="{_SIDE / 2 - y:.1f}"'
        kind = "typed" if label in seen else "other"
        marks.append(f'<text class="{kind}" {place}>{escape(label)}</text>')
    return (
        f'<svg class="plane" viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="Embedding of the characters">'
        f"{''.join(marks)}</svg>"
    )


def made_up(items: Sequence[str], is_seen: Sequence[bool | None]) -> str:
    """Return made-up items as a list, those that are not in the text in colour; None is unknown."""
    entries = []
    for item, seen in zip(items, is_seen, strict=True):
        text, typed = escape(with_spaces(item)) or "(nothing)", escape(item, quote=True)
        button = f'<button type="button" data-type="{typed}">{text}</button>'
        entries.append(f'<li class="new">{button}</li>' if seen is False else f"<li>{button}</li>")
    longest = max(map(len, items), default=0)
    return f'<ul class="items" style="--longest: {longest}">{"".join(entries)}</ul>'
