"""Freeze what wechsel 0.0.4 and fastText 0.9.2 give, as wechsel.npz and tiny_fasttext.bin.

Run in an environment with wechsel==0.0.4, fasttext-wheel==0.9.2, gensim, transformers:
python make_wechsel.py WORK_FOLDER
"""

import sys
from pathlib import Path

import fasttext
import numpy as np
from gensim.models import Word2Vec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from wechsel import WECHSEL, get_subword_embeddings_in_word_embedding_space

WORK, HERE = Path(sys.argv[1]), Path(__file__).parent
WIDTH, N_NEIGHBOURS = 12, 5
rng = np.random.default_rng(0)
LETTERS = list("abcdefgh")


def vocabulary(seed: int, n: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return sorted({"".join(draw.choice(LETTERS, size=draw.integers(2, 7))) for _ in range(n)})


def tokenizer_of(words: list[str], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def word2vec_of(words: list[str]) -> Word2Vec:
    counts = {word: int(rng.integers(1, 50)) for word in words}
    model = Word2Vec(vector_size=WIDTH, min_count=1)
    model.build_vocab_from_freq(counts)
    model.wv.vectors = rng.normal(size=(len(words), WIDTH)).astype(np.float32)
    model.wv.expandos["count"] = np.array([counts[w] for w in model.wv.index_to_key])
    return model


def plain(tokenizer: PreTrainedTokenizerFast, words: list[str]) -> dict[str, np.ndarray]:
    cuts = [[tokenizer.encode(space + word) for word in words] for space in ("", " ")]
    flat = [np.concatenate(cut).astype(np.int32) for cut in cuts]
    lengths = [np.array([len(ids) for ids in cut], np.int64) for cut in cuts]
    return {"ids": flat, "lengths": lengths}


source_words, target_words = vocabulary(1, 120), vocabulary(2, 120)
source_tokenizer = tokenizer_of(source_words[:60], 320)
target_tokenizer = tokenizer_of(target_words[:60], 330)
source_model, target_model = word2vec_of(source_words), word2vec_of(target_words)
pairs = [(str(rng.choice(source_words)), str(rng.choice(target_words))) for _ in range(60)]
dictionary = WORK / "dictionary.txt"
dictionary.write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
matrix = rng.normal(size=(len(source_tokenizer), 6)).astype(np.float32)
wechsel = WECHSEL(source_model, target_model, bilingual_dictionary=str(dictionary))
rows, info = wechsel.apply(
    source_tokenizer, target_tokenizer, matrix, use_subword_info=False, neighbors=N_NEIGHBOURS
)
frozen = {
    "pairs": np.array(pairs),
    "matrix": matrix,
    "rows": rows,
    "not_found": np.array(target_tokenizer.convert_tokens_to_ids(info.not_found), np.int64),
}
for side, tokenizer, model in (
    ("source", source_tokenizer, source_model),
    ("target", target_tokenizer, target_model),
):
    words = list(model.wv.index_to_key)
    cuts = plain(tokenizer, words)
    frozen |= {
        f"{side}_words": np.array(words),
        f"{side}_vectors": model.wv.vectors,
        f"{side}_counts": np.array(model.wv.expandos["count"], np.float64),
        f"{side}_token_vectors": get_subword_embeddings_in_word_embedding_space(
            tokenizer,
            wechsel.source_embeddings if side == "source" else wechsel.target_embeddings,
            use_subword_info=False,
            verbose=False,
        )[0].astype(np.float32),
    }
    for variant in range(2):
        frozen[f"{side}_ids_{variant}"] = cuts["ids"][variant]
        frozen[f"{side}_lengths_{variant}"] = cuts["lengths"][variant]

text = WORK / "text.txt"
text.write_text("\n".join(" ".join(rng.choice([*source_words, "größe"], 20)) for _ in range(200)))
model = fasttext.train_unsupervised(
    str(text), dim=4, bucket=300, minn=2, maxn=4, minCount=1, epoch=1, thread=1, verbose=0
)
model.save_model(str(HERE / "tiny_fasttext.bin"))
texts = [source_words[0], "größe", "ö", "a", "unbekannt", "", "日本語", "</s>", "a b"]
words, counts = model.get_words(include_freq=True)
frozen |= {
    "texts": np.array(texts),
    "text_vectors": np.stack([model.get_word_vector(text) for text in texts]),
    "fasttext_words": np.array(words),
    "fasttext_counts": counts,
}
np.savez_compressed(HERE / "wechsel.npz", **frozen)
