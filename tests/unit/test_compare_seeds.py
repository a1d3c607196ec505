"""A grid's seeds reach everything of a cell that is drawn at random."""

from flows.compare_config import CompareConfig


def test_starts_and_vectors_are_drawn_anew_for_each_seed():
    dictionary = {"path": "/dictionary.index"}
    trained = {"kind": "trained", "text": "/text.txt"}
    network = {"method": "hypernetwork", "network": {"kind": "trained"}}
    grid = CompareConfig.model_validate(
        {
            "model": {"source": {"kind": "directory", "path": "/model"}},
            "corpus": {"sources": [{"kind": "files", "name": "texts", "paths": ["/texts/*"]}]},
            "tokenizers": {"bytes": {"tokenizer": {"method": "bytes"}}},
            "initialisers": {
                "distilled": {
                    "initialiser": {"method": "token_distillation", "start": network},
                    "head_fit": {},
                },
                "wechsel": {
                    "initialiser": {
                        "method": "wechsel",
                        "source_vectors": trained,
                        "target_vectors": trained,
                        "dictionary": dictionary,
                    }
                },
            },
            "seeds": [3, 4],
        }
    )
    seeds = {}
    for cell in grid.cells("bytes"):
        choices, training = cell.run.embedding.model_dump(), cell.run.pretraining
        assert training is not None
        seeds[cell.initialiser, cell.seed] = {*_seeds(choices), training.seed}
    assert all(found == {seed} for (_, seed), found in seeds.items()), seeds
    assert len(seeds) == 4


def _seeds(choices: object) -> list[int]:
    """Values of all fields of this name, but for those of parts that are not used here."""
    if not isinstance(choices, dict):
        return []
    here = [choices["seed"]] if "seed" in choices else []
    used = (v for k, v in choices.items() if k != "prefix_prior" or _has_prior(choices))
    return here + [seed for value in used for seed in _seeds(value)]


def _has_prior(choices: dict) -> bool:
    return choices["initialiser"]["head"] == "prefix_prior"
