"""Checks trees of prefixes: exact NLL of networks over lines as one forward pass for each line gives it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import SPLITS, CorpusOptions
from makemore.inference.likelihood import exact_nll
from makemore.inference.prefix_tree import prefix_trees
from makemore.models.network import Network, build

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
@settings(max_examples=15, deadline=None)
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
