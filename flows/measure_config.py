"""What one measuring of a model is decided by."""

from tasks.corpus.config import CorpusConfig
from tasks.evaluation.config import EvaluationConfig
from tasks.model.config import ModelConfig
from tasks.shared.config import StageConfig


class MeasureConfig(StageConfig):
    """Everything that decides what measuring a model writes."""

    model: ModelConfig
    """The model to measure."""
    corpus: CorpusConfig
    """The text whose held-out part it reads."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured."""
