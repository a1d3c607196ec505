"""What a person is told of a wrong run file."""

import pytest
from pydantic import ValidationError

from flows.run_config import RunConfig, describe_problems
from tasks.embedding.config import EmbeddingConfig


def test_a_field_that_may_be_a_name_or_a_config_is_called_by_its_path_alone():
    values = {"initialiser": {"method": "token_distillation", "start": "compsed"}}
    with pytest.raises(ValidationError) as caught:
        EmbeddingConfig.model_validate(values)
    said = describe_problems(caught.value)
    assert said.startswith("initialiser.token_distillation.start: Input should be 'mean_of_pieces'")
    assert "function-after" not in said
    assert said.count("(got 'compsed')") == 2


def test_keys_of_the_user_keep_their_brackets():
    with pytest.raises(ValidationError) as caught:
        EmbeddingConfig.model_validate({"special_tokens": {"[CLS]": 3}})
    assert "special_tokens.[CLS]: " in describe_problems(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"control": {}}, "control trains .* pretraining is null; leave control out"),
        ({"export": {"dtype": "float16"}}, "export.dtype float16 is for trained weights"),
    ],
)
def test_what_only_training_makes_sense_of_is_refused_without_it(
    more: dict[str, object], said: str
):
    files = {"kind": "files", "name": "texts", "paths": ["/texts/*.txt"]}
    run = {
        "model": {"source": {"kind": "directory", "path": "/model"}},
        "corpus": {"sources": [files]},
        "tokenizer": {"method": "bytes"},
        "pretraining": None,
    }
    assert RunConfig.model_validate(run).pretraining is None
    with pytest.raises(ValidationError, match=said):
        RunConfig.model_validate(run | more)
