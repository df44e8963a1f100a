"""BERT made visible: a text's way through a model, in the terminal, as a figure, as a page.

>>> from numpy_bert import BertModel, BertTokenizer, explain
>>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
>>> reading = explain.read("this is a test sentence", model=model, tokenizer=tokenizer)
>>> explain.figure(reading).svg[:4]
'<svg'
"""

from numpy_bert.explain.collecting import read
from numpy_bert.explain.drawing import Figure, figure
from numpy_bert.explain.reading import LayerReading, Prediction, Reading, Token
from numpy_bert.explain.terminal import terminal
from numpy_bert.explain.web.document import page

__all__ = [
    "Figure",
    "LayerReading",
    "Prediction",
    "Reading",
    "Token",
    "figure",
    "page",
    "read",
    "terminal",
]
