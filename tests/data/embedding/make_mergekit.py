"""Freeze what mergekit's tokensurgeon makes of two tiny models, as ``mergekit.safetensors``.

Run in an environment of its own, which the test suite does not need:
    pip install torch==2.13.0 "transformers>=5" mergekit==0.1.5 "accelerate<2"
    python tests/data/embedding/make_mergekit.py

Two untied one-layer Llamas of width 16 (source) and 20 (donor) with byte-level BPE of their own;
rows differ in length. Kept are both models' rows, which rows are shared, the old pieces of the new
tokens as the source tokenizer cuts their text, and the input rows and head rows that each method
makes. Where a new token's text is not ASCII, mergekit cuts the spelling of its bytes instead, so
its mean of pieces is that of ``pieces`` for the others.
"""

import json
import tempfile
from pathlib import Path

import torch
from mergekit.scripts.tokensurgeon import main as tokensurgeon
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

ENGLISH = [
    "The program reads the file and writes the result into a directory.",
    "A tokenizer cuts text into pieces, and the model reads the pieces.",
    "Every function returns its value, or raises an error that names the file.",
]
GERMAN = [
    "Der Vertrag wird schriftlich geschlossen und von beiden Seiten unterschrieben.",
    "Das Programm liest die Datei und schreibt das Ergebnis in ein Verzeichnis.",
    "Die Verordnung tritt am Tag nach ihrer Verkündung in Kraft.",
]
K = 8
INTERPOLATION = ["distance_proportional", "barycentric", "least_squares"]
RUNS = {
    "omp": ["-a", "omp"],
    "mean": ["-a", "mean"],
    "subword_mean": ["-a", "subword", "-s", "mean"],
    **{
        f"{metric}_{weights}": ["-a", "common_interpolation", "-w", weights, flag]
        for metric, flag in (("euclidean", "-nc"), ("cosine", "-c"))
        for weights in INTERPOLATION
    },
}


def make_model(folder: Path, texts: list[str], size: int, width: int, seed: int) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts * 3, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    record = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(record))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    for part in (model.get_input_embeddings(), model.get_output_embeddings()):
        shape = part.weight.shape
        lengths = 0.5 + torch.rand(shape[0], 1, generator=generator)
        common = torch.randn(1, shape[1], generator=generator)
        rows = torch.randn(shape, generator=generator) + 0.5 * common
        part.weight.data = rows * lengths
    model.save_pretrained(folder)


def rows_of(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors["model.embed_tokens.weight"].float(), tensors["lm_head.weight"].float()


def main() -> None:
    kept: dict[str, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as place:
        source, donor = Path(place) / "source", Path(place) / "donor"
        make_model(source, ENGLISH, 340, 16, 1)
        make_model(donor, GERMAN + ENGLISH[:1], 400, 20, 2)
        for name, folder in (("source", source), ("donor", donor)):
            kept[f"{name}_input"], kept[f"{name}_head"] = rows_of(folder)
        old = Tokenizer.from_file(str(source / "tokenizer.json"))
        new = Tokenizer.from_file(str(donor / "tokenizer.json"))
        old_vocabulary, new_vocabulary = old.get_vocab(), new.get_vocab()
        shared = sorted((new_vocabulary[t], old_vocabulary[t])
                        for t in old_vocabulary.keys() & new_vocabulary.keys())  # fmt: skip
        needed = sorted(new_vocabulary[t] for t in new_vocabulary.keys() - old_vocabulary.keys())
        kept["shared_new_old"] = torch.tensor(shared, dtype=torch.int32)
        kept["needed_new"] = torch.tensor(needed, dtype=torch.int32)
        cut = [old.model.tokenize(new.id_to_token(i)) for i in needed]
        pieces = [[piece.id for piece in row] for row in cut]
        kept["pieces"] = torch.tensor([i for row in pieces for i in row], dtype=torch.int32)
        kept["piece_offsets"] = torch.tensor([0] + [len(p) for p in pieces]).cumsum(0)
        for name, options in RUNS.items():
            out = Path(place) / name
            arguments = [str(source), str(donor), str(out), *options, "--k", str(K)]
            tokensurgeon(arguments, standalone_mode=False)
            for part, rows in zip(("input", "head"), rows_of(out), strict=True):
                kept[f"{name}_{part}"] = rows[needed].contiguous()
    save_file(kept, Path(__file__).parent / "mergekit.safetensors")


if __name__ == "__main__":
    main()
