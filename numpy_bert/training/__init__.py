"""Training: a model, its texts, AdamW and a loop that goes on where it was killed.

>>> import tempfile
>>> from numpy_bert import BertForMaskedLM, BertTokenizer
>>> from numpy_bert.training import MaskedTexts, Trainer, TrainingArguments
>>> data = MaskedTexts(["The sun is up.", "It is warm."], BertTokenizer.from_pretrained("demo"))
>>> settings = TrainingArguments(learning_rate=1e-3, num_train_epochs=2)
>>> with tempfile.TemporaryDirectory() as folder:
...     trained = Trainer(BertForMaskedLM.from_pretrained("demo"), data, settings, folder).train()
>>> type(trained).__name__
'BertForMaskedLM'
"""

from numpy_bert.training.data import LabelledTexts, MaskedTexts, TaughtTexts
from numpy_bert.training.encoder_trainer import SentenceEncoderTrainer
from numpy_bert.training.evaluation import (
    accuracy,
    masked_scores,
    regression_scores,
    sentence_correlation,
)
from numpy_bert.training.fit import Trainer
from numpy_bert.training.heads import new_classifier
from numpy_bert.training.joint import JointData, JointModel
from numpy_bert.training.next_sentence import SentencePairs
from numpy_bert.training.optimizer import AdamW
from numpy_bert.training.pair_losses import (
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
)
from numpy_bert.training.student import SentenceStudent
from numpy_bert.training.training_args import TrainingArguments

__all__ = [
    "AdamW",
    "CoSENTLoss",
    "CosineSimilarityLoss",
    "JointData",
    "JointModel",
    "LabelledTexts",
    "MaskedTexts",
    "MultipleNegativesRankingLoss",
    "SentenceEncoderTrainer",
    "SentencePairs",
    "SentenceStudent",
    "TaughtTexts",
    "Trainer",
    "TrainingArguments",
    "accuracy",
    "masked_scores",
    "new_classifier",
    "regression_scores",
    "sentence_correlation",
]
