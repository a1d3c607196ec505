"""The run files that the project ships say what they mean."""

from pathlib import Path

import pytest

from flows.compare_config import CompareConfig
from flows.run_config import RunConfig, load_config, load_run_config
from tasks.shared.vocabulary_file import TokenizerFile, read_tokenizer_file
from tasks.tokenizer.config import Bytes
from tasks.tokenizer.term_choice import choose_terms
from tasks.tokenizer.word_rule import word_rule

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def source(tiny_model_folder: Path) -> TokenizerFile:
    return read_tokenizer_file(tiny_model_folder)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_run_file_is_valid(path: Path):
    load_config(path, CompareConfig if path.stem.startswith("compare") else RunConfig)


def test_legal_terms_are_words_under_the_rule_of_their_run_file(source: TokenizerFile):
    run = load_run_config(CONFIGS / "legal.yaml")
    assert not isinstance(run.tokenizer, Bytes)
    rule = word_rule(source, run.pretokens.words)
    terms = choose_terms(run.tokenizer.required, rule)
    assert terms.n_left_out == 0
    assert {b" 1998", b" (iv)", b" (12)", b" notwithstanding"} <= set(terms.required)
