"""What enters a model's head, and what the model makes of what leaves it."""

import numpy as np
import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM

from tasks.embedding.hidden_states import NonlinearHeadError, read_hidden_states

SMALL = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
WINDOWS = [[2, 5, 7], [2, 9, 11, 30]]


def test_states_times_head_times_scale_are_the_logits():
    torch.manual_seed(0)
    model = CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25)).eval()
    said = list[tuple[int, int]]()
    read = read_hidden_states(model, WINDOWS, lambda *at: said.append(at))
    assert said == [(1, 2), (2, 2)]
    assert read.logit_scale == pytest.approx(0.25, rel=1e-5)
    head = model.get_output_embeddings().weight.detach().numpy()
    with torch.inference_mode():
        logits = [model(torch.tensor([window])).logits[0].numpy() for window in WINDOWS]
    np.testing.assert_allclose(0.25 * read.states @ head.T, np.concatenate(logits), atol=1e-5)


def test_a_model_that_bends_its_logits_is_refused():
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.05)).eval()
    with pytest.raises(NonlinearHeadError, match=r"soft-capping\?\), .* method mean_of_pieces"):
        read_hidden_states(model, WINDOWS)
