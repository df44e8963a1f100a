"""transformers' names of tokenizers, all of which are BertTokenizer here.

Which tokenizer is loaded is what the files of a folder say, by whatever name it is asked for.
"""

from __future__ import annotations

from numpy_bert.text.tokenizer import BertTokenizer

__all__ = [
    "AutoTokenizer",
    "BertTokenizerFast",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "DPRContextEncoderTokenizer",
    "DPRContextEncoderTokenizerFast",
    "DPRQuestionEncoderTokenizer",
    "DPRQuestionEncoderTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "MPNetTokenizer",
    "MPNetTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
]

AutoTokenizer = BertTokenizerFast = BertTokenizer
CamembertTokenizer = CamembertTokenizerFast = BertTokenizer
DistilBertTokenizer = DistilBertTokenizerFast = BertTokenizer
DPRContextEncoderTokenizer = DPRContextEncoderTokenizerFast = BertTokenizer
DPRQuestionEncoderTokenizer = DPRQuestionEncoderTokenizerFast = BertTokenizer
ElectraTokenizer = ElectraTokenizerFast = BertTokenizer
MPNetTokenizer = MPNetTokenizerFast = BertTokenizer
RobertaTokenizer = RobertaTokenizerFast = BertTokenizer
XLMRobertaTokenizer = XLMRobertaTokenizerFast = BertTokenizer
