"""Special token ids in configs after a change of tokenizer."""

import pytest

from tasks.model.token_ids import UnmappedTokenError, updated_config, with_new_ids

ROLES = {"bos": 10, "eos": 11, "pad": 12}
NEW_OF_OLD = {1: 10, 2: 11, 3: 13, 4: 12}


def new_id(old: int) -> int:
    return NEW_OF_OLD.get(old, -1)


def test_bos_eos_pad_follow_the_roles() -> None:
    record = {"bos_token_id": 1, "eos_token_id": 99, "pad_token_id": None, "temperature": 0.2}
    assert with_new_ids(record, ROLES, new_id, "x") == {
        "bos_token_id": 10,
        "eos_token_id": 11,
        "pad_token_id": None,
        "temperature": 0.2,
    }


def test_a_role_the_record_lacks_is_added() -> None:
    assert with_new_ids({}, {"eos": 11}, new_id, "x") == {"eos_token_id": 11}


def test_every_end_token_of_a_list_keeps_its_meaning() -> None:
    record = {"eos_token_id": [3, 2, 99]}
    assert with_new_ids(record, {"eos": 11}, new_id, "x")["eos_token_id"] == [13, 11]
    assert with_new_ids({"eos_token_id": [3]}, {"eos": 11}, new_id, "x")["eos_token_id"] == [11, 13]


def test_other_tokens_keep_their_meaning() -> None:
    assert with_new_ids({"decoder_start_token_id": 3}, {}, new_id, "x") == {
        "decoder_start_token_id": 13
    }


def test_a_token_without_counterpart_is_named() -> None:
    with pytest.raises(UnmappedTokenError, match=r"config\.json: image_token_id is 7"):
        with_new_ids({"image_token_id": 7}, ROLES, new_id, "config.json")


def test_lists_of_old_ids_are_refused() -> None:
    with pytest.raises(UnmappedTokenError, match="suppress_tokens"):
        with_new_ids({"suppress_tokens": [1, 2]}, ROLES, new_id, "generation_config.json")


def test_config_gets_rows_and_tying() -> None:
    record = {"vocab_size": 5, "hidden_size": 8, "eos_token_id": 2}
    found = updated_config(record, {"eos": 11}, new_id, 16, tied=False, was_tied=True)
    assert found == {
        "vocab_size": 16,
        "hidden_size": 8,
        "eos_token_id": 11,
        "tie_word_embeddings": False,
    }


def test_nested_text_config_is_changed_too() -> None:
    record = {"text_config": {"vocab_size": 5, "eos_token_id": 2}}
    found = updated_config(record, {"eos": 11}, new_id, 16, tied=True, was_tied=False)
    assert found["text_config"] == {
        "vocab_size": 16,
        "eos_token_id": 11,
        "tie_word_embeddings": True,
    }
    assert "vocab_size" not in found


@pytest.mark.parametrize("said", [True, False])
def test_what_config_says_of_tying_stays_where_nothing_changes(said: bool) -> None:
    record = {"vocab_size": 5, "tie_word_embeddings": said}
    found = updated_config(record, {}, new_id, 16, tied=True, was_tied=True)
    assert found["tie_word_embeddings"] is said
