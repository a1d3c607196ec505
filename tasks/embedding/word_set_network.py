"""A network from the vectors of a set of words to a row.

A bidirectional LSTM reads the words' vectors one after the other; two layers make a row of its
last states in both directions.
Source: HYPEROFA (Ozeren, Liu and Schuetze 2025, section 3.2), its LSTM variant.

Dimensions: N = tokens, T = words, S = width of the words' space, Y = width of what is made.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class WordSetNetwork(nn.Module):
    """Sets of word vectors to rows.

    Args:
        n_in: width of the words' space.
        hidden: width of the LSTM in either direction.
        n_out: width of a row.
        dropout: share of the hidden units that are left out in training.
    """

    def __init__(self, n_in: int, hidden: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_in, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(
            nn.Linear(2 * hidden, 2 * n_out),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * n_out, n_out),
        )

    def forward(
        self, words_NTS: Float[Tensor, "N T S"], n_words_N: Int64[Tensor, " N"]
    ) -> Float[Tensor, "N Y"]:
        """Make rows.

        Args:
            words_NTS: vectors of words, padded on the right.
            n_words_N: words of each token, at least one, on the CPU.
        """
        packed = pack_padded_sequence(words_NTS, n_words_N, batch_first=True, enforce_sorted=False)
        _, (last_2NH, _) = self.lstm(packed)
        return self.head(torch.cat([last_2NH[0], last_2NH[1]], dim=1))
