"""Choices of initialisers with a donor: a model that owns the new tokenizer."""

from typing import ClassVar, Literal

from pydantic import Field

from tasks.embedding.config_base import InitialiserConfig


class DonorInitialiser(InitialiserConfig):
    """A way to make rows that reads the rows of a second model."""

    needs_donor: ClassVar[bool] = True


class Omp(DonorInitialiser):
    """Each new row is a sum of few old rows, chosen by matching pursuit in the donor's space."""

    method: Literal["omp"] = "omp"
    k: int = Field(default=64, gt=0)
    """Old rows a new row is made of; no more than donor and source share."""
    normalised: bool = False
    """Choose shared tokens by direction alone; as published, those with long rows come first."""


class Interpolation(DonorInitialiser):
    """Each new row is a weighted sum over the nearest shared tokens in the donor's space."""

    method: Literal["interpolation"] = "interpolation"
    k: int = Field(default=64, gt=0)
    """Nearest shared tokens; no more than donor and source share."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """What near means."""
    weighting: Literal["inverse_distance", "barycentric", "least_squares"] = "inverse_distance"
    """By distance, or the best fit of the donor's row, with weights that sum to 1 or without."""


class LeastSquares(DonorInitialiser):
    """New rows are donor rows under one linear map, fitted on shared tokens."""

    method: Literal["least_squares"] = "least_squares"
    ridge: float = Field(default=0.01, gt=0.0)
    """Ridge of the map, as a multiple of the mean variance of the donor's entries."""
    intercept: bool = True
    """Also fit a constant row."""
    seed: int = Field(default=0, ge=0)
    """Chooses the shared tokens that measure the map."""
