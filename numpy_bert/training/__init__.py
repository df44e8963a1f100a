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

from numpy_bert.training.arguments import TrainingArguments
from numpy_bert.training.data import LabelledTexts, MaskedTexts
from numpy_bert.training.fit import Trainer
from numpy_bert.training.heads import new_classifier
from numpy_bert.training.optimizer import AdamW

__all__ = [
    "AdamW",
    "LabelledTexts",
    "MaskedTexts",
    "Trainer",
    "TrainingArguments",
    "new_classifier",
]
