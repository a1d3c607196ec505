"""Freeze what deepfocus 1.0.1 makes of given vectors, for test_embedding_focus.py.

Run in an environment of its own, which the test suite does not need; writes deepfocus.npz beside:
    pip install torch==2.13.0 transformers==5.23.0 numba regex fasttext-wheel==0.9.2 datasets
    pip install fastdist entmax scipy print-on-steroids && pip install --no-deps deepfocus==1.0.1
    python tests/data/embedding/make_deepfocus.py

First its last step alone, from vectors and a known overlap. Then its whole way from two tokenizers,
one of bytes and one in the manner of sentencepiece. Their tokens are words and parts of words of
plain letters: these it matches rightly, where it takes one token for another in other scripts.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import fasttext
import numpy as np
import torch
from deepfocus import FOCUS
from deepfocus.focus import focus_additional_token_initialization
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

rng = np.random.default_rng(0)
# 90 shared tokens and 40 new ones in clusters, so that some cosines are near 1 and many are not.
centres = rng.normal(size=(8, 20))
vectors = (centres[rng.integers(8, size=130)] + 0.7 * rng.normal(size=(130, 20))).astype("f4")
shared = rng.normal(size=(90, 12)).astype("f4")

overlap = {
    str(i): SimpleNamespace(
        auxiliary_embedding=vectors[i], source_embedding=torch.from_numpy(shared[i])
    )
    for i in range(90)
}
new = {
    str(i): SimpleNamespace(auxiliary_embedding=vectors[i], target=SimpleNamespace(id=i))
    for i in range(90, 130)
}
made = focus_additional_token_initialization(overlap, new, torch.zeros(130, 12))


def tokenizer_of(texts: list[str], outside: object, decoder: object) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = outside, decoder
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def texts_of(words: np.ndarray) -> list[str]:
    """The first words are the most frequent; their order is chance."""
    share = 1 / np.arange(2, len(words) + 2)
    return [" ".join(rng.choice(words, 12, p=share / share.sum())) for _ in range(600)]


words = np.array(
    sorted({"".join(rng.choice(list("abdefgiklmnorstu"), rng.integers(2, 7))) for _ in range(400)})
)
rng.shuffle(words)
source_texts, target_texts = texts_of(words[:260]), texts_of(words[120:])
of_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
source = tokenizer_of(source_texts, of_bytes, decoders.ByteLevel())
target = tokenizer_of(target_texts, pre_tokenizers.Metaspace(), decoders.Metaspace())
rows = rng.normal(size=(source.get_vocab_size(), 6)).astype("f4")
with tempfile.TemporaryDirectory() as place:
    text, model = f"{place}/text", f"{place}/model"
    Path(text).write_text("\n".join(" ".join(target.encode(line).tokens) for line in target_texts))
    trained = fasttext.train_unsupervised(
        text, model="cbow", dim=10, epoch=5, minCount=8, bucket=2000, thread=1, verbose=0
    )
    trained.save_model(model)
    whole = FOCUS(
        target_tokenizer=PreTrainedTokenizerFast(tokenizer_object=target, eos_token="<eos>"),
        source_tokenizer=PreTrainedTokenizerFast(tokenizer_object=source, eos_token="<eos>"),
        source_embeddings=torch.from_numpy(rows),
        fasttext_model_path=model,
        verbosity="silent",
    )
tokens = [target.id_to_token(i) for i in range(target.get_vocab_size())]
known, nothing = set(trained.words), np.zeros(10, "f4")
np.savez_compressed(
    Path(__file__).parent / "deepfocus.npz",
    vectors_WA=vectors,
    shared_VD=shared,
    made_KD=made[90:].numpy(),
    source_tokenizer=source.to_str(),
    target_tokenizer=target.to_str(),
    token_vectors_WA=np.stack([trained[t] if t in known else nothing for t in tokens]),
    source_VD=rows,
    target_WD=whole.numpy(),
)
