import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.shared.bits_per_byte import (
    ContextTooShortError,
    bits_per_byte,
    check_document_bytes,
    encode_documents,
    score_documents,
)
from tasks.shared.model_loading import load_causal_lm, load_tokenizer
from tasks.shared.text_pieces import cut_pieces

PREFIX = 0


def test_two_documents_by_hand():
    nats = np.array([8 * math.log(2), 4 * math.log(2)])
    assert bits_per_byte(nats, np.array([2, 4])) == pytest.approx(12 / 6)


def test_pieces_never_cut_a_character_and_join_to_the_text():
    text = "aä€😀" * 50
    for piece_bytes in range(4, 40):
        pieces = cut_pieces(text, piece_bytes)
        assert "".join(pieces) == text
        assert all(piece_bytes - 3 <= len(p.encode()) <= piece_bytes for p in pieces[:-1])
    assert cut_pieces("", 10) == []


def test_batches_of_any_mix_equal_one_document_at_a_time(
    tiny_model_folder: Path, small_corpus_texts: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tasks.shared.bits_per_byte.LOGITS_AT_ONCE", 200_000)
    model = load_causal_lm(tiny_model_folder)
    ids_of, _ = encode_documents(load_tokenizer(tiny_model_folder), small_corpus_texts[:12])
    ids_of.append([])
    together = score_documents(model, ids_of, PREFIX)
    assert together[-1] == 0
    for ids, nats in zip(ids_of[:-1], together, strict=False):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[PREFIX, *ids]])).logits[0].double()
        log_probs = logits.log_softmax(-1)
        naive = -sum(log_probs[position, token].item() for position, token in enumerate(ids))
        assert nats == pytest.approx(naive, rel=1e-6)


def test_bfloat16_is_judged_in_bfloat16(tiny_model_folder: Path):
    ids_of = [[5, 6, 7, 8, 9]]
    exact = score_documents(load_causal_lm(tiny_model_folder), ids_of, PREFIX)
    shipped = score_documents(load_causal_lm(tiny_model_folder, torch.bfloat16), ids_of, PREFIX)
    assert exact != shipped
    assert exact == pytest.approx(shipped, rel=0.01)


def test_a_document_that_does_not_return_is_seen(tiny_model_folder: Path):
    from tokenizers.normalizers import Lowercase

    tokenizer = load_tokenizer(tiny_model_folder)
    tokenizer.normalizer = Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    _, returns = encode_documents(tokenizer, ["alles klein", "Nicht alles"])
    assert returns.tolist() == [True, False]


def test_documents_that_might_not_fit_are_refused():
    check_document_bytes(511, 512)
    check_document_bytes(10_000, None)
    with pytest.raises(ContextTooShortError, match="set document_bytes to 511"):
        check_document_bytes(512, 512)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # lm-eval's own dependencies warn at import
def test_lm_eval_agrees(tiny_model_folder: Path, small_corpus_texts: list[str]):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    texts = [text[:200] for text in small_corpus_texts[:10]]
    model = load_causal_lm(tiny_model_folder)
    judge = HFLM(
        pretrained=model,
        tokenizer=AutoTokenizer.from_pretrained(tiny_model_folder, local_files_only=True),
        backend="causal",
        batch_size=2,
        device="cpu",
        prefix_token_id=PREFIX,
    )
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
        for text in texts
    ]
    theirs = -np.array(judge.loglikelihood_rolling(requests, disable_tqdm=True))
    ids_of, _ = encode_documents(load_tokenizer(tiny_model_folder), texts)
    n_bytes = np.array([len(text.encode()) for text in texts])
    ours = score_documents(model, ids_of, PREFIX)
    assert bits_per_byte(ours, n_bytes) == pytest.approx(bits_per_byte(theirs, n_bytes), abs=1e-6)
