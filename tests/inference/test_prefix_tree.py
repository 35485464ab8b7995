"""Checks trees of prefixes: exact NLL of networks over lines as one forward pass for each line gives it."""

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import SPLITS, CorpusOptions
from makemore.inference import prefix_tree
from makemore.inference.likelihood import exact_nll
from makemore.inference.prefix_tree import prefix_trees
from makemore.models.network import Network, build

Tree = tuple[list[int], list[tuple[list[int], ...]]]
WORDS = st.lists(st.text("abcd", min_size=1, max_size=12), min_size=6, max_size=40)


def plain_nll(network: Network, corpus: Corpus, split: str) -> float:
    """One forward pass for each token of the split, from up to `block_size` tokens before it."""
    total = count = 0.0
    ends = corpus.lengths.cumsum()
    for first, last in zip(ends - corpus.lengths, ends, strict=True):
        line = [corpus.vocabulary.start, *corpus.tokens[first:last].tolist()]
        for place in range(last - first):
            if corpus.membership[first + place] == SPLITS.index(split):
                context = torch.tensor([line[max(place + 1 - network.block_size, 0) : place + 1]])
                total -= float(F.log_softmax(network(context)[0, -1], -1)[line[place + 1]].detach())
                count += 1
    return total / count


@pytest.mark.parametrize("boundary", ["shared", "separate"])
@pytest.mark.parametrize("by", ["line", "example"])
@settings(max_examples=15)
@given(words=WORDS, block_size=st.integers(1, 14), rows=st.sampled_from([1, 7, 1000]))
def test_nll_is_that_of_one_pass_for_each_token(
    words: list[str], block_size: int, rows: int, by: str, boundary: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("\n".join([*words, "abcd"]) + "\n")
    corpus = read_corpus(
        CorpusOptions(str(path), splits=(1, 0, 0) if by == "line" else (0.6, 0.2, 0.2), by=by, boundary=boundary)
    )
    arguments = {"block_size": block_size, "embedding_dim": 3, "hidden_dim": 4}
    network = build("gru", corpus.vocabulary.size, arguments, 1).double()
    for split in SPLITS:
        if corpus.size(split):
            windows = corpus.windows(split, corpus.context_size(network)).counted()
            assert exact_nll(network, windows).nats == pytest.approx(plain_nll(network, corpus, split), rel=1e-12)
            parts = list(prefix_trees(windows.contexts.numpy(), windows.start, rows))
            assert sorted(row for part in parts for row in part.chosen.tolist()) == list(range(len(windows.contexts)))


def test_a_prefix_is_one_node_however_many_contexts_it_begins() -> None:
    # e, em, emm and el after the start token 0; 3 of each padded
    contexts = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 2], [0, 0, 1, 3]]).numpy()
    (tree,) = prefix_trees(contexts, 0, 100)
    assert [level.tokens.tolist() for level in tree.levels] == [[0], [1], [2, 3], [2]]
    assert [level.parents.tolist() for level in tree.levels] == [[0], [0], [0, 0], [0]]
    assert sum(len(level.tokens) for level in tree.levels) == 5


def plain_trees(lines: list[tuple[int, ...]], rows: int) -> list[Tree]:
    """The rows of each tree, and the parents, tokens, rows and ends of its levels, from lines without padding."""
    order = sorted(range(len(lines)), key=lines.__getitem__)
    found = []
    for first in range(0, len(lines), rows):
        chosen = order[first : first + rows]
        levels = []
        nodes: dict[tuple[int, ...], int] = {(): 0}
        for length in range(1, max(len(lines[row]) for row in chosen) + 1):
            prefixes = list(dict.fromkeys(lines[row][:length] for row in chosen if len(lines[row]) >= length))
            parents = [nodes[prefix[:-1]] for prefix in prefixes]
            nodes = {prefix: node for node, prefix in enumerate(prefixes)}
            here = [place for place, row in enumerate(chosen) if len(lines[row]) == length]
            tokens, ends = [prefix[-1] for prefix in prefixes], [nodes[lines[chosen[place]]] for place in here]
            levels.append((parents, tokens, here, ends))
        found.append((chosen, levels))
    return found


# the last of each kind of token fills its type, one or two bytes long
@pytest.mark.parametrize(
    ("others", "dtype"), [((0, 3), "u1"), ((252, 255), "u1"), ((254, 515), "i2"), ((0, 66000), "i4")]
)
@given(data=st.data(), length=st.integers(1, 6), rows=st.sampled_from([1, 3, 1000]), start_is_last=st.booleans())
def test_trees_are_those_of_the_sorted_lines(
    others: tuple[int, int], dtype: str, data: st.DataObject, length: int, rows: int, start_is_last: bool
) -> None:
    start = others[start_is_last]
    token = st.sampled_from(sorted({*others, others[0] + 1, others[1] - 1, sum(others) // 2} - {start}))
    whole = st.lists(token, max_size=length - 1).map(lambda tokens: (start, *tokens))
    # the beginning of a long line is beyond what its context holds
    cut = st.lists(token, min_size=length, max_size=length).map(tuple)
    lines: list[tuple[int, ...]] = data.draw(st.lists(whole | cut, min_size=1, max_size=30))
    contexts = np.array([(start,) * (length - len(line)) + line for line in lines], dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "_TOKENS", rows * length)
        found = [
            (tree.chosen.tolist(), [tuple(part.tolist() for part in vars(level).values()) for level in tree.levels])
            for tree in prefix_trees(contexts, start, 1000)
        ]
    assert found == plain_trees(lines, rows)


def test_they_take_little_more_memory_than_the_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_tree, "_TOKENS", 2**12)
    contexts: npt.NDArray[Any] = np.random.default_rng(0).integers(1, 27, (20_000, 60), dtype=np.uint8)
    tracemalloc.start()
    first = next(prefix_trees(contexts, 0, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first.chosen) == 2**12 // 60
    # a matrix of int64 is 8 times as large
    assert peak < 2 * contexts.nbytes
