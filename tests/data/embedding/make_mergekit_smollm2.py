"""Freeze what mergekit's tokensurgeon makes of SmolLM2, as ``mergekit_smollm2.safetensors``.

Run in an environment of its own, which the test suite does not need:
    pip install torch==2.13.0 "transformers>=5" mergekit==0.1.5 "accelerate<2"
    python tests/data/embedding/make_mergekit_smollm2.py FOLDER_OF_SMOLLM2

The second tokenizer is SmolLM2's with 400 merges more, each of two of its tokens. The donor that
owns it is a model of width 256 whose rows are 256 columns of SmolLM2's own, and the mean of both
parts where a token is new: no sum of many terms, so that any machine makes the same rows. Kept are
the parts of 200 new tokens and 64 columns of the row that each method gives them.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mergekit.scripts.tokensurgeon import main as tokensurgeon
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

N_NEW, N_KEPT, N_COLUMNS, WIDTH, K = 400, 200, 64, 256, 8
FILES = ("tokenizer.json", "tokenizer_config.json")
RUNS = {
    "omp": ["-a", "omp"],
    "inverse_distance": ["-a", "common_interpolation", "-w", "distance_proportional", "-nc"],
    "subword_mean": ["-a", "subword", "-s", "mean"],
}


def extend(source: Path, target: Path) -> list[tuple[int, int]]:
    """Append merges of two tokens of plain letters; returns their ids."""
    record = json.loads((source / "tokenizer.json").read_text())
    vocabulary = record["model"]["vocab"]
    plain = sorted(t for t in vocabulary if t.lstrip("Ġ").isascii() and t.lstrip("Ġ").isalpha())
    tails = [t for t in plain if "Ġ" not in t]
    draw, pairs = np.random.default_rng(0), []
    while len(pairs) < N_NEW:
        left, right = str(draw.choice(plain)), str(draw.choice(tails))
        if left + right not in vocabulary:
            pairs.append((vocabulary[left], vocabulary[right]))
            vocabulary[left + right] = len(vocabulary)
            record["model"]["merges"].append([left, right])
    (target / "tokenizer.json").write_text(json.dumps(record))
    shutil.copyfile(source / "tokenizer_config.json", target / "tokenizer_config.json")
    return pairs


def donor_rows(source_VD: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    columns = torch.from_numpy(np.random.default_rng(1).permutation(source_VD.shape[1])[:WIDTH])
    old = source_VD[:, columns]
    return torch.cat([old, (old[pairs[:, 0]] + old[pairs[:, 1]]) / 2])


def main(smollm2: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        source, donor = Path(place) / "source", Path(place) / "donor"
        base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
        base.save_pretrained(source)
        for name in FILES:
            shutil.copyfile(smollm2 / name, source / name)
        donor.mkdir()
        pairs = torch.tensor(extend(source, donor), dtype=torch.int32)
        rows = donor_rows(base.get_input_embeddings().weight.detach(), pairs)
        config = LlamaConfig(
            vocab_size=len(rows), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=4, tie_word_embeddings=True, bos_token_id=base.config.bos_token_id,
            eos_token_id=base.config.eos_token_id,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        model.get_input_embeddings().weight.data = rows
        model.save_pretrained(donor)
        del base, model
        kept = {"pairs": pairs[:N_KEPT]}
        for name, options in RUNS.items():
            out = Path(place) / name
            arguments = [str(source), str(donor), str(out), *options, "--k", str(K)]
            tokensurgeon(arguments, standalone_mode=False)
            tensors = {}
            for path in sorted(out.glob("*.safetensors")):
                tensors |= load_file(path)
            made = tensors["model.embed_tokens.weight"][-N_NEW:][:N_KEPT, :N_COLUMNS]
            kept[name] = made.float().contiguous()
            shutil.rmtree(out)
    save_file(kept, Path(__file__).parent / "mergekit_smollm2.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
