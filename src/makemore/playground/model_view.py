"""What the page shows of one model: its answer to what is typed, and items that it makes up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import count, islice
from pathlib import Path

from makemore.checkpoints import run_dir_of
from makemore.data.text import normalized
from makemore.errors import UserError, whole_number
from makemore.inference.continuations import likeliest_continuations, next_log_probs
from makemore.inference.diagnosis import Array, plane_of
from makemore.inference.sampling import SamplingOptions, samples
from makemore.inference.sampling import unseen as unseen_items
from makemore.inference.scoring import WordScore, score
from makemore.inference.trained_model import TrainedModel
from makemore.playground import panels
from makemore.playground.known_items import KnownItems

# bounds of what can be asked for: characters typed, items, characters of an item, and attempts at unseen ones
LONGEST, MOST_ITEMS = 40, 50
_MAX_LENGTH, _ATTEMPTS = 100, 1000
# of the tree: continuations of each length, lengths, and the least probability
_WIDTH, _DEPTH, _LEAST = 6, 5, 1e-3
_NEAREST = 6
# the most characters that the plane of an embedding has room for
_POINTS = 100


@dataclass
class ModelView:
    """A model on the page, under a name; its text is read and scored from `known.start` on."""

    model: TrainedModel
    name: str
    known: KnownItems = field(init=False)

    def __post_init__(self) -> None:
        self.known = KnownItems(self.model)

    def heading(self) -> str:
        """Return what the model is, as HTML."""
        parameters = sum(tensor.numel() for tensor in self.model.network.parameters())
        size = f"{parameters:,} parameters" if parameters else "counts"
        what = f"{self.model.architecture}, {size}, step {self.model.step:,}"
        return f'<h2>{escape(self.name)}</h2><p class="soft">{escape(what)}</p>'

    def answer(self, typed: str) -> str:
        """Return the panels for what is typed as HTML; an error that the user can mend is a line of it."""
        try:
            return self.heading() + self._panels(self._accepted(typed))
        except UserError as error:
            return self.heading() + panels.error_line(str(error))

    def make_up(self, typed: str, n: int, seed: int, temperature: float, top_k: int, unseen: bool) -> str:
        """Return items that begin with what is typed as HTML; `top_k` is 0 for all tokens."""
        found: list[str] = []
        try:
            beginning = self._accepted(typed)
            whole_number("the number of items", n, at_least=1, at_most=MOST_ITEMS)
            options = SamplingOptions(beginning, temperature, top_k or None, _MAX_LENGTH)
            stream = samples(self.model.network, self.model.vocabulary, seed, options)
            for item in unseen_items(stream, self._seen(), n, _ATTEMPTS) if unseen else islice(stream, n):
                found.append(item)
            problem = ""
        except UserError as error:
            problem = panels.error_line(str(error).removesuffix("; raise max_attempts"))
        is_read = self.known.items is not None
        is_seen = [item in self.known if is_read else None for item in found]
        new = f'<p class="soft">{is_seen.count(False)} of {len(found)} are not in the text, in colour</p>'
        return problem + (new if found and is_read else "") + panels.made_up(found, is_seen)

    def _seen(self) -> KnownItems | set[str]:
        """Return the items of the text, which is read here as long as it has not been."""
        return self.model.seen() if self.known.items is None else self.known

    def _accepted(self, typed: str) -> str:
        """Return what is typed in the text's normal form; raise `UserError` for what is too long."""
        word = normalized(typed, self.model.options.normalize)
        if len(word) > LONGEST:
            raise UserError(f"{len(word)} characters are typed; the most is {LONGEST}")
        return word

    def _panels(self, word: str) -> str:
        network, vocabulary = self.model.network, self.model.vocabulary
        beginning = vocabulary.encode(word)
        (after,) = next_log_probs(network, vocabulary, [beginning])
        levels = likeliest_continuations(network, vocabulary, beginning, after, _WIDTH, _DEPTH, _LEAST)
        (scored,) = score(network, vocabulary, [word])
        sections = [
            ("Next character, percent", panels.distribution(after.tolist(), vocabulary)),
            ("Surprise, nats", panels.surprises(scored, vocabulary) + self._standing(scored)),
            ("Likeliest continuations", panels.tree(word, levels, vocabulary)),
        ]
        if self._plane is not None:
            sections.append(("Embedding" + self._shares, panels.plane(*self._plane, word)))
        found = "".join(f"<section><h3>{title}</h3>{panel}</section>" for title, panel in sections)
        return f'<div class="panels">{found}</div>'

    def _standing(self, scored: WordScore) -> str:
        """Return the NLL of a word, its rank among the text's items, and the nearest of these, as HTML."""
        lines = [f"<p>NLL <b>{scored.nll:.3f}</b> nats a character{self._rank(scored)}</p>"]
        lines += map(panels.error_line, self.known.changes)
        if self.known.problem is not None:
            lines.append(panels.error_line(self.known.problem))
        elif self.known.items is not None and scored.word:
            is_in = f"<b>{'in' if scored.word in self.known else 'not in'} the text</b>"
            near = self.known.nearest(scored.word, _NEAREST)
            lines.append(f'<p>{is_in}; nearest <span class="near">{_buttons(near) or "none"}</span></p>')
        return "".join(lines)

    def _rank(self, scored: WordScore) -> str:
        rank = self.known.rank(scored.nll)
        if rank is None:
            return "" if self.known.problem else "; its rank follows once the text is scored"
        place = min(rank.place, rank.of)
        return f", likelier than {(rank.of - place) / rank.of:.0%} of {rank.of:,} items of the text (rank {place:,})"

    @cached_property
    def _embedded(self) -> tuple[Array, Array | None] | None:
        vectors = self.model.network.embedding
        return None if vectors is None else plane_of(vectors.detach().double().numpy()[:_POINTS])

    @cached_property
    def _plane(self) -> tuple[Array, list[str]] | None:
        """The points and the labels of the embedding's tokens."""
        if self._embedded is None:
            return None
        points, _ = self._embedded
        return points, [panels.token_label(self.model.vocabulary, token) for token in range(len(points))]

    @cached_property
    def _shares(self) -> str:
        """How much of the embedding's variance the plane shows."""
        shares = None if self._embedded is None else self._embedded[1]
        return "" if shares is None else f", {shares.sum():.0%} of its variance"


def _buttons(near: Sequence[tuple[str, int]]) -> str:
    """Return items with their edits, as HTML; a click on one types it."""
    return " ".join(
        f'<button type="button" data-type="{escape(item, quote=True)}">{escape(panels.with_spaces(item))}'
        f"<small>{edits}</small></button>"
        for item, edits in near
    )


def views_of(models: Sequence[TrainedModel]) -> list[ModelView]:
    """Return the models as they stand side by side, named by their runs, and by their checkpoints in the same run."""
    runs = [run_dir_of(model.path.parent) for model in models]
    names = [
        _name(run, runs) if runs.count(run) == 1 else f"{_name(run, runs)}/{model.path.stem}"
        for run, model in zip(runs, models, strict=True)
    ]
    return [ModelView(model, name) for model, name in zip(models, names, strict=True)]


def _name(run: Path, runs: Sequence[Path]) -> str:
    """Return the last parts of a run's path, as many as tell it from the others."""
    others = set(runs) - {run}
    parts = next(each for each in count(1) if all(run.parts[-each:] != other.parts[-each:] for other in others))
    return "/".join(run.parts[-parts:])
