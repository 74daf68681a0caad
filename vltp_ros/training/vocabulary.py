"""The words that a small model has seen in training, so that others can be warned of."""

from __future__ import annotations

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.network.words import vocabulary_of
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import TrainingData
from vltp_ros.training.crowded_batches import common_sentences


def sentences_of(edition: int) -> list[str]:
    """Return all sentences that a training on scenes of an edition may show."""
    if edition == 1:
        return [text for task in TASKS for text in task.phrasings]
    return common_sentences()


def vocabulary_after(vocabulary: str, data: TrainingData) -> str:
    """Return all words that a model has seen after another training.

    Args:
        vocabulary: those before it; empty where they are not known, which no training changes.
        data: of the training. Those of public data are too many to list: empty.
    """
    if not vocabulary or not isinstance(data, TabletopDataset):
        return ""
    return vocabulary_of([vocabulary, *sentences_of(data.edition)])
