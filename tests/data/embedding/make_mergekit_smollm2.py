"""Freeze what mergekit's tokensurgeon makes of SmolLM2, as ``mergekit_smollm2.safetensors``.

Run in an environment of its own, which the test suite does not need:
    pip install torch==2.13.0 "transformers>=5" mergekit==0.1.5 "accelerate<2"
    python tests/data/embedding/make_mergekit_smollm2.py FOLDER_OF_SMOLLM2 OUT [FOLDER_OF_GEMMA]

The second tokenizer has those of SmolLM2's tokens that share their row with no other (which of two
equal rows is the nearer is chance) but its three "<|...|>", and 400 tokens more, each of two of its
tokens. The donor that owns it is a model of width 256 whose rows are 256 columns of SmolLM2's own,
and the mean of both parts where a token is new.

Barycentric rows are here those of mergekit's own function on the same rows in double: SmolLM2 has
tokens whose rows differ little, and in float32, where its command works, up to 88 of 200 rows come
out wrong, by up to 0.4, from a system that is all but singular.

With Gemma 3 270M, its rows are the donor's instead, and all comes from the command: rows of tokens
that SmolLM2 has too and mergekit matches rightly (printable ASCII, at most one space, in front),
and of 400 words and parts of words of any script that SmolLM2 lacks. Nothing of that is kept in the
repository: Gemma's terms bind what is made from it.

Both models are untied here: heads have the input's columns in reverse, each times 1, 2 or 3. No row
is a sum of many terms, so any machine makes the same. Written are the new tokens, and the first
columns of the input row and the head row that each method gives to 200 of them.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mergekit.scripts.tokensurgeon import main as tokensurgeon
from mergekit.tokensurgeon import WeightingScheme, common_interp_approximate
from mergekit.tokensurgeon.common_interpolation import DistanceMetric
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

N_NEW, N_KEPT, WIDTH, K = 400, 200, 256, 64
N_COLUMNS = 16
"""Of the file in the repository."""
WEIGHTINGS = ("distance_proportional", "barycentric", "least_squares")
RUNS = {
    "omp": ["-a", "omp"],
    "mean": ["-a", "mean"],
    "subword_mean": ["-a", "subword", "-s", "mean"],
    **{
        f"{metric}_{weights}": ["-a", "common_interpolation", "-w", weights, flag]
        for metric, flag in (("euclidean", "-nc"), ("cosine", "-c"))
        for weights in WEIGHTINGS
    },
}
Record = dict[str, torch.Tensor]


def head_of(rows: torch.Tensor) -> torch.Tensor:
    return rows.flip(1) * (1 + torch.arange(rows.shape[1]) % 3)


def save_source(smollm2: Path, folder: Path) -> torch.Tensor:
    """Untie SmolLM2; returns its input rows."""
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    rows = model.get_input_embeddings().weight.detach()
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(head_of(rows))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(smollm2 / name, folder / name)
    return rows


def save_donor(folder: Path, tokens: list[str], rows: torch.Tensor) -> None:
    """Write a model with these rows.

    Its tokenizer is of a class that mergekit does not know, and whose words it takes to begin
    with "Ġ".
    """
    config = LlamaConfig(
        vocab_size=len(rows), hidden_size=rows.shape[1], intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=4, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.get_input_embeddings().weight.data = rows.contiguous()
    model.lm_head.weight.data = head_of(rows)
    model.save_pretrained(folder)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    Tokenizer(models.BPE(vocabulary, [])).save(str(folder / "tokenizer.json"))
    record = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(record))


def extended(vocabulary: dict[str, int], source_rows: torch.Tensor, folder: Path) -> Record:
    """Join two tokens of plain letters at a time; returns their ids."""
    plain = sorted(t for t in vocabulary if t.lstrip("Ġ").isascii() and t.lstrip("Ġ").isalpha())
    tails = [t for t in plain if "Ġ" not in t]
    draw, joined = np.random.default_rng(0), dict[str, tuple[int, int]]()
    while len(joined) < N_NEW:
        left, right = str(draw.choice(plain)), str(draw.choice(tails))
        if left + right not in vocabulary:
            joined[left + right] = vocabulary[left], vocabulary[right]
    columns = torch.from_numpy(np.random.default_rng(1).permutation(source_rows.shape[1])[:WIDTH])
    old = source_rows[:, columns]
    _, group, sizes = np.unique(old.numpy(), axis=0, return_inverse=True, return_counts=True)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    alone = [i for i in np.flatnonzero(sizes[group] == 1) if not tokens[i].startswith("<|")]
    pairs = torch.tensor(list(joined.values()), dtype=torch.int32)
    rows = torch.cat([old[alone], (old[pairs[:, 0]] + old[pairs[:, 1]]) / 2])
    save_donor(folder, [*(tokens[i] for i in alone), *joined], rows)
    kept = {"pairs": pairs[:N_KEPT], "n_shared": torch.tensor(len(alone))}
    for part, of in (("input", torch.clone), ("head", head_of)):
        donor = of(rows).double()
        for metric in DistanceMetric:
            near, weights = common_interp_approximate(
                donor[-N_NEW:][:N_KEPT], donor[:-N_NEW], K, metric, WeightingScheme.BARYCENTRIC
            )
            made = torch.einsum("kn,knd->kd", weights, of(source_rows[alone]).double()[near])
            kept[f"{metric.value}_barycentric_{part}"] = made[:, :N_COLUMNS].float().contiguous()
    return kept


def of_gemma(vocabulary: dict[str, int], gemma: Path, folder: Path) -> Record:
    """Take what of Gemma mergekit matches rightly, and 400 others; returns their ids in Gemma."""
    theirs = json.loads((gemma / "tokenizer.json").read_text())["model"]["vocab"]
    texts = {i: t.replace("▁", " ") for t, i in theirs.items() if "▁" not in t[1:]}
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    has = {i: in_bytes.pre_tokenize_str(text)[0][0] in vocabulary for i, text in texts.items()}
    shared = sorted(i for i in texts if has[i] and texts[i].isascii() and texts[i].isprintable())
    lacking = sorted(i for i in texts if not has[i] and texts[i].removeprefix(" ").isalpha())
    new = np.random.default_rng(0).choice(lacking, N_NEW, replace=False).tolist()
    rows = load_file(gemma / "model.safetensors")["model.embed_tokens.weight"]
    tokens = [texts[i].replace(" ", "Ġ") for i in [*shared, *new]]
    save_donor(folder, tokens, rows[[*shared, *new]].float())
    return {
        "new": torch.tensor(new[:N_KEPT], dtype=torch.int32),
        "n_shared": torch.tensor(len(shared)),
    }


def main(smollm2: Path, out: Path, gemma: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as place:
        source, donor, result = (Path(place) / name for name in ("source", "donor", "result"))
        source_rows = save_source(smollm2, source)
        vocabulary = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
        if gemma is None:
            kept, n_columns = extended(vocabulary, source_rows, donor), N_COLUMNS
        else:
            kept, n_columns = of_gemma(vocabulary, gemma, donor), source_rows.shape[1]
        for name, options in RUNS.items():
            arguments = [str(source), str(donor), str(result), *options, "--k", str(K)]
            tokensurgeon(arguments, standalone_mode=False)
            tensors = {}
            for path in sorted(result.glob("*.safetensors")):
                tensors |= load_file(path)
            for part, key in (("input", "model.embed_tokens.weight"), ("head", "lm_head.weight")):
                made = tensors[key][-N_NEW:][:N_KEPT, :n_columns]
                kept.setdefault(f"{name}_{part}", made.float().contiguous())
            shutil.rmtree(result)
    save_file(kept, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
