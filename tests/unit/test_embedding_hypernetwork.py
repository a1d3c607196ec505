"""A network from the rows of a token's pieces to its own, and what it is taught."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.embedding.frozen_body import frozen_body
from tasks.embedding.linear_lesson import fit_linear
from tasks.embedding.mean_of_pieces import mean_of_pieces
from tasks.embedding.merge_splits import MergeSplits
from tasks.embedding.network_file import (
    NetworkFileError,
    check_network,
    load_network,
    network_arrays,
    new_network,
)
from tasks.embedding.network_text import TextTeacher
from tasks.embedding.network_training import NetworkDivergedError, Steps, train_on_text
from tasks.embedding.next_token import Candidates, next_token_loss
from tasks.embedding.old_rows import OldRows
from tasks.embedding.old_tokens import NoOldMergesError, OldTokens
from tasks.embedding.piece_rows import made_by, make_all
from tasks.embedding.pieces import Pieces
from tasks.embedding.regression_share import SHARES, losses_by_share
from tasks.embedding.row_network import NetworkShape, RowNetwork
from tasks.embedding.sampled_batches import NothingToLearnError, Sampler
from tasks.embedding.sampled_cuts import SampledCuts
from tasks.embedding.two_cuts import PairedWindow, Spelling, cut_paired_windows

WIDTH, N_BASE, N_OLD = 8, 40, 400
"""The first N_BASE old tokens are no merge's result."""
PAIRS = [(1, 2), (3, 41), (42, 5), (7, 8)]
"""Old ids that new tokens N_OLD, N_OLD + 1... are made of."""


def old_merges() -> np.ndarray:
    rng = np.random.default_rng(0)
    merges = [[*rng.integers(0, t, 2).tolist(), t] for t in range(N_BASE, N_OLD)]
    return np.array(merges, np.int32)


def random_rows(n: int = N_OLD, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, WIDTH)) * np.arange(1, WIDTH + 1) + 3).astype(np.float32)


def composed_rows() -> np.ndarray:
    """Merged tokens whose rows are one linear function of the two rows they are made of."""
    rows_VD = random_rows()
    rng = np.random.default_rng(1)
    left_DD, right_DD = rng.normal(size=(2, WIDTH, WIDTH)) / (2 * WIDTH**0.5)
    for left, right, result in old_merges():
        rows_VD[result] = rows_VD[left] @ left_DD + rows_VD[right] @ right_DD + 0.5
    return rows_VD


def old_tokens(lengths: list[int]) -> OldTokens:
    needed = Pieces.from_lists([[1] * n for n in lengths])
    return OldTokens.of(N_OLD, old_merges(), needed, np.random.default_rng(0))


def network_for(*sources: np.ndarray, seed: int = 0) -> RowNetwork:
    network = new_network(NetworkShape(len(sources), WIDTH, 16, 2, 3), seed)
    network.standardise_by(sources)
    return network


def some_pieces(n: int = 50) -> Pieces:
    rng = np.random.default_rng(3)
    return Pieces.from_lists([rng.integers(0, N_OLD, k).tolist() for k in rng.integers(1, 6, n)])


@pytest.mark.parametrize("n_sides", [1, 2])
def test_untrained_network_is_the_mean_of_pieces(n_sides: int):
    sources = [random_rows(seed=side) for side in range(n_sides)]
    pieces = some_pieces()
    made_NSD = make_all(network_for(*sources), sources, pieces)
    for side, rows_VD in enumerate(sources):
        np.testing.assert_array_equal(made_NSD[:, side], mean_of_pieces(rows_VD, pieces))


def test_rows_do_not_depend_on_their_neighbours():
    sources = [random_rows()]
    network = network_for(*sources)
    torch.nn.init.normal_(network.out.weight)
    pieces = some_pieces()
    all_NSD = make_all(network, sources, pieces)
    for token in range(0, len(pieces), 7):
        alone = make_all(network, sources, Pieces.from_lists([pieces.of(token)]))
        np.testing.assert_allclose(alone[0], all_NSD[token], rtol=1e-4, atol=1e-4)
    first_three = Pieces.from_lists([[1, 2, 3, 9, 9], [1, 2, 3, 9, 9, 9, 9]])
    made = make_all(network, sources, first_three)
    assert (made[0] != made[1]).any()  # the mean still sees what the layers do not
    nothing = make_all(network, sources, Pieces.from_lists([[], [4]]))
    assert not nothing[0].any()


def test_text_without_new_tokens_needs_no_rows():
    """A sampled tokenizer may have none of the merges that a batch's text needs."""
    rows_VD = random_rows()
    made_NSD = made_by(network_for(rows_VD), [rows_VD], Pieces.from_lists([]))
    assert made_NSD.shape == (0, 1, WIDTH)


def test_linear_part_learns_linear_composition():
    rows_VD = composed_rows()
    network = network_for(rows_VD)
    old = OldRows(old_tokens([2]), [rows_VD])
    start, of_means = old.held_out_errors(network, 0)
    assert start == pytest.approx(of_means, rel=1e-5)
    fit_linear(network, old, 1e-6, 0).put_into(network, 1.0)
    fitted, _ = old.held_out_errors(network, 0)
    assert fitted < 1e-3 * of_means
    new = Pieces.from_lists([[4, 5], [60, 2]])
    rng = np.random.default_rng(1)
    left_DD, right_DD = rng.normal(size=(2, WIDTH, WIDTH)) / (2 * WIDTH**0.5)
    expected = rows_VD[[4, 60]] @ left_DD + rows_VD[[5, 2]] @ right_DD + 0.5
    np.testing.assert_allclose(make_all(network, [rows_VD], new)[:, 0], expected, atol=0.05)


def test_share_of_the_regression_is_a_mixture():
    sources, pieces = [composed_rows(), random_rows(seed=5)], some_pieces()
    made = {}
    for share in (0.0, 0.25, 1.0):
        network = network_for(*sources)
        old = OldRows(old_tokens([2, 3, 4]), sources)
        fit_linear(network, old, 0.05, 0).put_into(network, share)
        made[share] = make_all(network, sources, pieces)
    mixture = 0.75 * made[0.0] + 0.25 * made[1.0]
    np.testing.assert_allclose(made[0.25], mixture, rtol=1e-3, atol=1e-3)


def test_merges_are_taken_apart_by_hand():
    # a b c -> ab (rank 0), abc (rank 1), abcab (rank 2), and once more ab, which does not count.
    merges = np.array([[0, 1, 3], [3, 2, 4], [4, 3, 5], [1, 0, 3]], np.int32)
    splits = MergeSplits.of(merges, np.ones(6, bool))
    assert splits.n_merges == 3
    assert [splits.into(5, n) for n in (1, 2, 3, 4, 9)] == [
        [5],
        [4, 3],
        [3, 2, 3],
        [0, 1, 2, 3],
        [0, 1, 2, 0, 1],
    ]
    ids = np.array([5, 0, 4])
    cuts = [splits.without_last(ids, n).tolist() for n in (3, 2, 1, 0)]
    assert cuts == [[5, 0, 4], [4, 3, 0, 4], [3, 2, 3, 0, 3, 2], [0, 1, 2, 0, 1, 0, 0, 1, 2]]
    kept = MergeSplits.of(merges, np.array([1, 1, 1, 0, 1, 1], bool))
    assert kept.without_last(ids, 0).tolist() == [3, 2, 3, 0, 3, 2]


def test_sampled_cut_is_what_the_tokenizer_with_fewer_merges_makes():
    from tokenizers import Tokenizer, models

    letters, rng = "abcd", np.random.default_rng(0)
    vocab, merges = {c: i for i, c in enumerate(letters)}, []
    while len(vocab) < 60:
        left, right = rng.choice(list(vocab), 2)
        if left + right not in vocab:
            vocab[left + right] = len(vocab)
            merges.append((left, right))
    ids_M3 = np.array([[vocab[x], vocab[y], vocab[x + y]] for x, y in merges], np.int32)
    lengths = np.array([len(token) for token in vocab])
    match_W = np.append(np.arange(4), np.full(56, -1)).astype(np.int32)
    text = "".join(rng.choice(list(letters), 200))
    cut = SampledCuts.of(ids_M3, match_W, lengths[:4], lengths, 0.0)

    def by_library(n: int) -> list[int]:
        tokens = {token: i for token, i in vocab.items() if i < 4 + n}
        return Tokenizer(models.BPE(tokens, merges[:n])).encode(text).ids

    old = np.array([vocab[c] for c in text])
    spelling = Spelling.of([token.encode() for token in vocab])
    [window], _ = cut_paired_windows(
        [(old, np.array(by_library(56)))], spelling, spelling, (0, 0), 1000
    )
    for n in (0, 1, 17, 40, 56):
        [made] = cut.cut([window], n)
        assert made.new[1:].tolist() == by_library(n)
        ends = np.cumsum(lengths[made.new[1:]])
        np.testing.assert_array_equal(ends[made.new_at - 1], made.old_at)


def test_next_token_loss_with_all_tokens_is_the_models_own():
    torch.manual_seed(0)
    states_BLD, head_VD, bias_V = torch.randn(2, 5, 4), torch.randn(9, 4), torch.randn(9)
    ids_BL = torch.randint(9, (2, 5))
    is_text_BL = np.array([[True] * 5, [True] * 3 + [False] * 2])
    logits_BLV = 0.5 * (states_BLD @ head_VD.T + bias_V)
    nats = torch.nn.functional.cross_entropy(
        logits_BLV[:, :-1].flatten(0, 1), ids_BL[:, 1:].flatten(), reduction="none"
    )
    expected = nats[torch.tensor([1, 1, 1, 1, 1, 1, 0, 0], dtype=torch.bool)].mean()
    every = Candidates(head_VD, bias_V, 9, 9)
    found = next_token_loss(states_BLD, ids_BL.numpy(), is_text_BL, every, 0.5)
    torch.testing.assert_close(found, expected)


def test_drawn_negatives_stand_for_those_not_drawn():
    """With equal logits, the denominator counts the whole vocabulary."""
    few = Candidates(torch.zeros(5, 4), torch.zeros(5), 2, 1000)
    states_BLD, ids_BL = torch.randn(1, 3, 4), np.array([[0, 1, 0]])
    loss = next_token_loss(states_BLD, ids_BL, np.ones((1, 3), bool), few, 1.0)
    assert loss.item() == pytest.approx(np.log(1000), rel=1e-5)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=N_OLD,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[:] = torch.from_numpy(0.2 * composed_rows())
    return model


def windows_of_pairs() -> list[PairedWindow]:
    """Text in which one new token stands for each pair; token 0 is the prefix."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(30):
        words = rng.integers(0, 12, size=14).tolist()
        old = [i for w in words for i in (PAIRS[w] if w < len(PAIRS) else (50 + w,))]
        new = [N_OLD + w if w < len(PAIRS) else 50 + w for w in words]
        documents.append((np.array(old), np.array(new)))
    old = [chr(256 + i).encode() for i in range(N_OLD)]
    new = [*old, *(old[left] + old[right] for left, right in PAIRS)]
    return cut_paired_windows(documents, Spelling.of(old), Spelling.of(new), (0, 0), 24)[0]


def sampler_for(tokens: OldTokens, n_negatives: int = 0) -> Sampler:
    lengths_V = np.ones(N_OLD, np.int64)
    match_W = np.append(np.arange(N_OLD), [-1] * 4).astype(np.int32)
    merges = [[left, right, N_OLD + i] for i, (left, right) in enumerate(PAIRS)]
    lengths_W = np.append(lengths_V, [2] * 4)
    cuts = SampledCuts.of(np.array(merges, np.int32), match_W, lengths_V, lengths_W, 0.5)
    pieces = Pieces.from_lists([*([i] for i in range(N_OLD)), *PAIRS])
    return Sampler(cuts, tokens, match_W, pieces, 0.3, n_negatives)


def train(
    model: LlamaForCausalLM, kind: str, *, lr: float = 3e-3, n_steps: int = 40, seed: int = 0
):
    """A trained network, its losses, and the distance from held-out rows before and after."""
    rows_VD = model.get_input_embeddings().weight.detach().numpy().copy()
    tokens = old_tokens([2])
    sampler = sampler_for(tokens, 16 if kind == "tokens" else 0)
    old, network = OldRows(tokens, [rows_VD]), network_for(rows_VD, seed=seed)
    zeros = np.zeros(N_OLD, np.float32)
    batches = sampler.batches(windows_of_pairs(), 8, n_steps, seed)
    steps = Steps(n_steps, lr, 64, torch.float32)
    before, _ = old.held_out_errors(network, 0)
    with frozen_body(model, None) as body:
        teacher = TextTeacher(kind, body, [rows_VD], rows_VD, zeros, 1.0, sampler.pieces, 32)
        losses = train_on_text(
            network, old, teacher, batches, 0.5, steps, seed, lambda done, loss: None
        )
    after, _ = old.held_out_errors(network, 0)
    return network, losses, before, after


@pytest.mark.parametrize("kind", ["hidden_states", "first_pieces"])
def test_a_share_of_the_regression_is_judged_by_the_loss_of_text(
    model: LlamaForCausalLM, kind: str
):
    rows_VD = model.get_input_embeddings().weight.detach().numpy().copy()
    tokens = old_tokens([2])
    sampler, network = sampler_for(tokens), network_for(rows_VD)
    regression = fit_linear(network, OldRows(tokens, [rows_VD]), 0.05, 0)
    batches = [*sampler.batches(windows_of_pairs(), 8, 2, 0)]
    with frozen_body(model, None) as body, torch.no_grad():
        zeros = np.zeros(N_OLD, np.float32)
        teacher = TextTeacher(kind, body, [rows_VD], rows_VD, zeros, 1.0, sampler.pieces, 32)
        given = network, regression, teacher, batches, torch.float32, 7
        losses = losses_by_share(*given)
        assert losses_by_share(*given) == losses
        for share in SHARES:
            regression.put_into(network, share)
            rng = np.random.default_rng([7, 5])
            of_batches = [teacher.loss(network, batch, rng)[0].item() for batch in batches]
            assert losses[share] == pytest.approx(np.mean(of_batches))
    assert len(set(losses.values())) == len(SHARES)


@pytest.mark.parametrize("kind", ["hidden_states", "tokens", "first_pieces"])
def test_text_and_known_rows_teach(model: LlamaForCausalLM, kind: str):
    before_model = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network, losses, before, after = train(model, kind)
    assert losses[-8:].mean() < losses[:8].mean()
    assert after < before
    made = make_all(network, [model.get_input_embeddings().weight.detach().numpy()], some_pieces())
    assert np.isfinite(made).all()
    assert np.abs(made).max(axis=2).min() > 0
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before_model[name]), name


def test_same_seed_same_network_and_a_file_keeps_it(model: LlamaForCausalLM, tmp_path: Path):
    rows_VD = model.get_input_embeddings().weight.detach().numpy()
    once, again, other = (
        make_all(train(model, "first_pieces", n_steps=3, seed=s)[0], [rows_VD], some_pieces())
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()
    network, *_ = train(model, "first_pieces", n_steps=3)
    path = tmp_path / "network.safetensors"
    save_file({k: torch.from_numpy(v) for k, v in network_arrays(network).items()}, path)
    kept = load_network(path)
    assert kept.shape == network.shape
    np.testing.assert_array_equal(make_all(kept, [rows_VD], some_pieces()), once)


def test_networks_for_other_rows_are_refused(tmp_path: Path):
    shape = network_for(random_rows()).shape
    check_network(shape, WIDTH, needs_head=False)
    with pytest.raises(NetworkFileError, match="rows of width 8 and the model has rows of width 9"):
        check_network(shape, 9, needs_head=False)
    with pytest.raises(NetworkFileError, match="set head to prefix_prior"):
        check_network(shape, WIDTH, needs_head=True)
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(NetworkFileError, match=r"holds 1 tensors \(first: \['weight'\]\)"):
        load_network(path)
    with pytest.raises(NetworkFileError, match="cannot be read as safetensors"):
        load_network(tmp_path / "nothing.safetensors")


def test_what_cannot_be_learnt_from_is_refused(model: LlamaForCausalLM):
    with pytest.raises(NoOldMergesError, match=r"has no merges.*use initialiser method mean_of"):
        OldTokens.of(9, np.zeros((0, 3), np.int32), some_pieces(), np.random.default_rng(0))
    old_alone = PairedWindow(np.array([0, 1]), np.array([0, 1]), np.array([1]), np.array([1]))
    with pytest.raises(NothingToLearnError, match="none of 1 windows"):
        sampler_for(old_tokens([2])).batches([old_alone], 1, 1, 0)
    with pytest.raises(NetworkDivergedError, match="lr=1e"):
        train(model, "first_pieces", lr=1e30)
