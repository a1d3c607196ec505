"""Costs of a model by the size of its vocabulary, and the cheapest size."""

import numpy as np
import pytest

from tasks.shared.model_shape import ModelShape, ModelShapeError, model_shape
from tasks.tokenizer.residue import prefix_token_counts
from tasks.tokenizer.vocabulary_size import SizeChoice, SizesError, choose_size

SMALL = ModelShape(
    hidden=4, n_layers=2, intermediate=8, n_heads=2, n_kv_heads=1, head_size=2, tied=True
)
CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}


def choose(
    sizes: list[int], n_tokens: list[int], shape: ModelShape = SMALL, context_bytes: int = 100
) -> SizeChoice:
    return choose_size(
        np.array(sizes),
        np.array(n_tokens),
        n_source_tokens=1000,
        n_bytes=2000,
        shape=shape,
        context_bytes=context_bytes,
        bytes_per_value=2,
    )


def test_costs_reckoned_by_hand():
    # A layer: q and o of 4 x 4, k and v of 4 x 2, three matrices of 4 x 8.
    assert SMALL.layer_parameters == 2 * (2 * 16 + 2 * 8 + 3 * 32)
    assert SMALL.cached_values == 2 * 2 * 1 * 2
    rows = choose([10, 20], [1000, 500]).table.to_pylist()
    assert rows[0] == {
        "vocabulary_size": 10,
        "n_tokens": 1000,
        "nsl": 1.0,
        "bytes_per_token": 2.0,
        "n_parameters": 288 + 40,
        "flops_per_byte": 2 * (288 + 40) / 2,
        "cache_bytes_per_byte": 8 * 2 / 2,
        "memory_bytes": 328 * 2 + 8 * 100,
        "tokens_plus_types": 1010,
    }
    assert rows[1]["nsl"] == 0.5
    assert rows[1]["flops_per_byte"] == 2 * (288 + 80) / 4


def test_two_matrices_hold_twice_the_rows_and_cost_the_same_to_run():
    tied = choose([10], [1000]).table.to_pylist()[0]
    untied_shape = ModelShape(4, 2, 8, 2, 1, 2, tied=False)
    untied = choose([10], [1000], untied_shape).table.to_pylist()[0]
    assert untied["n_parameters"] == tied["n_parameters"] + 40
    assert untied["flops_per_byte"] == tied["flops_per_byte"]


def test_the_cheapest_size_is_named_with_its_distance_to_the_ones_beside_it():
    found = choose([10, 20, 60], [1000, 640, 500])
    flops = found.table["flops_per_byte"].to_numpy()
    assert found.recommended == 20 == found.table["vocabulary_size"][int(np.argmin(flops))].as_py()
    more = [f"{flops[i] / flops[1] - 1:.1%} more" for i in (0, 2)]
    assert f"10 needs {more[0]} and 60 needs {more[1]}." in found.reason
    assert found.reason.startswith("A vocabulary of 20 needs the least FLOPs a byte of text, ")


def test_memory_weighs_the_rows_against_the_cache():
    sizes, n_tokens = [10, 20, 60], [1000, 640, 500]
    assert choose(sizes, n_tokens, context_bytes=0).memory_optimal == 10
    assert choose(sizes, n_tokens, context_bytes=10**6).memory_optimal == 60


def test_a_size_at_the_end_of_those_tried_is_not_passed_off_as_the_best_of_all():
    assert "largest size tried, so a larger one may" in choose([10, 20], [1000, 500]).reason
    small = choose([10, 20], [1000, 999], context_bytes=0)
    assert small.reason.count("smallest size tried, so a smaller one may") == 2
    assert "FLOPs a byte of text, 0.0 million. It is" in choose([10], [1000]).reason


def test_more_layers_want_a_larger_vocabulary():
    sizes, n_tokens = [100, 200, 400, 800], [1000, 900, 800, 780]
    found = [
        choose(sizes, n_tokens, ModelShape(4, n_layers, 8, 2, 1, 2, tied=True)).recommended
        for n_layers in (1, 100, 1000)
    ]
    assert found == [100, 400, 800]


def test_sizes_from_one_training_are_prefixes_of_its_merges():
    merges = np.array([(0, 1, 2), (2, 0, 3)], dtype=np.int32)
    word, counts = np.array([0, 1, 0, 1], dtype=np.int32), np.array([5])
    n_tokens = prefix_token_counts(word, np.array([0, 4]), counts, merges, np.array([0, 1, 2]))
    assert n_tokens.tolist() == [20, 10, 10]
    found = choose_size(np.array([2, 3, 4]), n_tokens, 20, 20, SMALL, 100, 2)
    assert found.recommended == 3
    assert found.table["bytes_per_token"].to_pylist() == [1, 2, 2]


def test_the_shape_of_a_model_is_read_from_its_config():
    shape = model_shape(CONFIG, tied=True)
    assert shape == ModelShape(576, 30, 1536, 9, 3, 64, tied=True)
    # SmolLM2-135M has 134,515,008 weights, 49,152 rows and 61 norms of its width among them.
    assert shape.layer_parameters == 134_515_008 - (49_152 + 61) * 576
    own_size = {**CONFIG, "head_dim": 32, "num_key_value_heads": None}
    assert model_shape(own_size, tied=False).head_size == 32
    assert model_shape(own_size, tied=False).n_kv_heads == 9


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "num_local_experts": 8}, "num_local_experts: 8, a mixture of experts"),
        ({"model_type": "gpt2", "n_embd": 768}, "'gpt2' lacks hidden_size, num_hidden_layers"),
    ],
)
def test_a_model_whose_costs_are_not_known_is_refused(config: dict, message: str):
    with pytest.raises(ModelShapeError, match=message):
        model_shape(config, tied=True)


@pytest.mark.parametrize("sizes", [[20, 10], [10, 10], [0, 10], []])
def test_sizes_must_ascend(sizes: list[int]):
    with pytest.raises(SizesError, match="must ascend from at least 1"):
        choose_size(
            np.array(sizes, dtype=np.int64), np.ones(len(sizes), np.int64), 1, 1, SMALL, 1, 2
        )


def test_no_text_tells_nothing():
    with pytest.raises(SizesError, match=r"text of 2000 bytes with 1000 .* and 0 under some size"):
        choose([10, 20], [5, 0])
