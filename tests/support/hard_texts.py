"""Texts that tokenizers have got wrong."""

from __future__ import annotations

import unicodedata

HARD_TEXTS = [
    # nothing, and what is nothing to BERT
    "",
    " ",
    "\t\n\r \u00a0\u3000",
    "\0",
    "\x0b\x0c\x1c\x1d\x1e\x1f\x85",
    # characters that vanish, between others and alone
    "a\0b a\x0bb a\x85b",
    "\ufffd\ufffe\uffff x",
    "te\u200bst \u200d\ufeff\u00ad",
    "\u202eabc\u202c \u2066x",
    "".join(map(chr, range(0x250))),
    "a\u2028b\u2029c",
    # special tokens, typed
    "[CLS] [SEP][MASK] [PAD]a[UNK] [sep] [MASK ]",
    "##able un## [unused1]",
    # scripts: Chinese, Japanese, Korean, an ideograph beyond the BMP, Hebrew, Arabic, Hindi
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u6771\u4eac\u3068 \ud55c\uad6d\uc5b4",
    "\U00020000a \u3007",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    # emoji: joined, flags, with a variation selector
    "\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    # one letter in several spellings, ligatures, letters whose case is several letters
    "na\u00efve caf\u00e9 \u1ebf",
    unicodedata.normalize("NFD", "na\u00efve caf\u00e9 \u1ebf"),
    "e" + "\u0301" * 1000,
    "\ufb01ligature \ufb03 \u0132 \u00df \u1e9e \u0130\u0131 \u00c6 \u03a3\u03c2",
    # words as long as they may be, and longer
    "a" * 100,
    "a" * 101,
    "b " + "a" * 10**5,
    "\u00e9" * 100,
    "\u00e9" * 101,
    # punctuation
    "don't we'll e.g. $3.50 (a-b) a_b ~`^|<=> \u2014\u201c\u201d\u3001",
    # beyond 512 tokens
    "word " * 600,
    "\u4e2d" * 600,
]
