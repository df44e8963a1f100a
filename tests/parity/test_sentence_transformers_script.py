"""A script as a user of sentence-transformers has it, with its import lines changed: the same."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers

from tests.tolerances import FLOAT32_FLOOR

pytestmark = pytest.mark.usefixtures("no_requests")

# All in which the two differ: where the names come from.
FIRST_LINES = {
    "sentence_transformers": """
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util import community_detection, paraphrase_mining, semantic_search
""",
    "numpy_bert": """
from numpy_bert import CrossEncoder, SentenceEncoder as SentenceTransformer
from numpy_bert import community_detection, paraphrase_mining, semantic_search
from numpy_bert.training import MultipleNegativesRankingLoss
from numpy_bert.training import SentenceEncoderTrainer as SentenceTransformerTrainer
from numpy_bert.training import TrainingArguments as SentenceTransformerTrainingArguments
""",
}
SCRIPT = """
model = SentenceTransformer(base, device="cpu", prompts={"query": "question: "})
corpus = [
    "A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.",
    "A man is riding a horse.", "A woman is playing violin.", "Two men pushed carts.",
    "A man is riding a white horse on an enclosed ground.", "A monkey is playing drums.",
]
embeddings = model.encode(corpus, convert_to_numpy=True, batch_size=4, show_progress_bar=False)
print(embeddings.shape, embeddings.dtype, model.get_embedding_dimension())

query = "A man is eating pasta."
query_embedding = model.encode_query([query], normalize_embeddings=True)
hits = semantic_search(query_embedding, embeddings, top_k=4)[0]
for hit in hits:
    print(corpus[hit["corpus_id"]], f"{hit['score']:.2f}")
similarities = model.similarity(embeddings[:2], embeddings)
print([[f"{score:.2f}" for score in row] for row in similarities.tolist()])
print([f"{score:.2f}" for score in model.similarity_pairwise(embeddings[:3], embeddings[1:4])])

cross_encoder = CrossEncoder(reranker, max_length=64)
scores = cross_encoder.predict([(query, corpus[hit["corpus_id"]]) for hit in hits])
print(scores.shape, [f"{score:.2f}" for score in scores.tolist()])
for rank in cross_encoder.rank(query, corpus, top_k=3, return_documents=True):
    print(rank["corpus_id"], rank["text"], f"{rank['score']:.2f}")

for score, i, j in paraphrase_mining(model, corpus, top_k=3)[:4]:
    print(f"{score:.2f}", corpus[i], corpus[j])
print(community_detection(embeddings, threshold=0.5, min_community_size=2))
bits = model.encode(corpus, precision="ubinary")
print(bits.shape, bits.dtype, [token.shape[0] for token in
      model.encode(corpus[:2], output_value="token_embeddings")])
"""
# Without datasets and accelerate, which are not there, sentence-transformers does not train: these
# lines run with ours alone. Losses and gradients are held to it in test_pairs_parity.py.
TRAINING = """
args = SentenceTransformerTrainingArguments(
    output_dir=new_folder / "run", num_train_epochs=2, per_device_train_batch_size=2,
    learning_rate=2e-5, warmup_ratio=0.1,
)
trainer = SentenceTransformerTrainer(
    model=model, args=args, train_dataset={"anchor": corpus[:4], "positive": corpus[4:]},
    loss=MultipleNegativesRankingLoss(model),
)
trainer.train()
trainer.model.save_pretrained(str(new_folder / "trained"))
"""
END = """
model.save_pretrained(str(new_folder / "final"))
again = SentenceTransformer(str(new_folder / "final"))
print(again.prompts["query"], again.max_seq_length, again.similarity_fn_name)
again_embeddings = again.encode_query(corpus)
"""


@pytest.fixture(scope="module")
def reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder on top of MiniLM, whose head is random."""
    folder = tmp_path_factory.mktemp("reranker")
    kind = transformers.BertForSequenceClassification
    model = kind.from_pretrained(minilm, num_labels=1, dtype=torch.float32)
    torch.manual_seed(7)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(folder)
    transformers.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


def run(library: str, **names: Any) -> tuple[str, dict[str, Any]]:
    """Run the script with the first lines of a library; return what it prints, and its names."""
    lines = [FIRST_LINES[library], SCRIPT, TRAINING if library == "numpy_bert" else "", END]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec("".join(lines), names)
    return out.getvalue(), names


def test_it_gives_the_same_with_both_imports(minilm: Path, reranker: Path, tmp_path: Path) -> None:
    found = {}
    for library in FIRST_LINES:
        (tmp_path / library).mkdir()
        found[library] = run(
            library, base=str(minilm), reranker=str(reranker), new_folder=tmp_path / library
        )
    (printed, ours), (expected, theirs) = found["numpy_bert"], found["sentence_transformers"]
    assert printed == expected
    assert len(printed.splitlines()) > 15
    for name in ("embeddings", "query_embedding", "scores", "similarities", "again_embeddings"):
        np.testing.assert_allclose(
            ours[name], theirs[name], rtol=0, atol=FLOAT32_FLOOR, err_msg=name
        )
    # And what was trained, sentence-transformers loads: no longer what it was, and the same there.
    trained = ours["trainer"].model.encode(ours["corpus"])
    assert np.abs(trained - ours["embeddings"]).max() > 100 * FLOAT32_FLOOR
    loaded = sentence_transformers.SentenceTransformer(
        str(tmp_path / "numpy_bert" / "trained"), device="cpu", local_files_only=True
    )
    np.testing.assert_allclose(loaded.encode(ours["corpus"]), trained, rtol=0, atol=FLOAT32_FLOOR)
