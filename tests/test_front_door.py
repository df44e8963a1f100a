"""What was documented stays: names, modules, arguments, commands with options, names in traces.

The READMEs show how all of it is used, and are executed. This list is explicit, so that a rename
that changes a README along with the code does not go through in silence.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert.architectures import class_names
from numpy_bert.cli import main
from tests.support.heads import write_head

ROOT = Path(__file__).parent.parent

NAMES = """
    BertConfig BertForMaskedLM BertForMultipleChoice BertForNextSentencePrediction
    BertForPreTraining BertForQuestionAnswering BertForSequenceClassification
    BertForTokenClassification BertModel BertTokenizer CheckpointError ConfigError CrossEncoder
    HubError InputError IntegrityError NumpyBertError OfflineError OutOfMemoryError OutputError
    SentenceEncoder SparseEncoder TokenizerError TraceError TrainingError community_detection fetch
    get_num_threads open_index paraphrase_mining paraphrase_mining_embeddings quantize_embeddings
    search semantic_search set_num_threads similarity similarity_pairwise tuning
"""
MODULES = {
    "blocks.embeddings": "",
    "blocks.encoder": "",
    "blocks.heads": "",
    "cli": "main",
    "corpora": (
        "BadRecord CorpusReport Index IndexHits Record encode_corpus encode_index open_index "
        "open_source write_index"
    ),
    "explain": "Figure LayerReading Prediction Reading Token figure page read terminal",
    "integrations.dask": "encode_bag encode_dataframe",
    "integrations.frames": "Settings encode_frames to_numpy",
    "model.bert": "BertModel",
    "ops.activation": "ACTIVATIONS",
    "ops.attention": "attention_scores merge_heads split_heads weighted_values",
    "ops.dropout": "draw_keep dropout",
    "ops.embedding": "embedding",
    "ops.layer_norm": "layer_norm",
    "ops.linear": "linear",
    "ops.softmax": "softmax",
    "pytest_plugin": "matches_bert",
    "serving": "Limits create_app",
    "testing": "assert_matches_bert bisect_port verify_trace",
    "trace": "named_steps",
    "training": (
        "AdamW CoSENTLoss CosineSimilarityLoss JointData JointModel LabelledTexts MaskedTexts "
        "MultipleNegativesRankingLoss SentenceEncoderTrainer SentencePairs SentenceStudent "
        "TaughtTexts Trainer TrainingArguments accuracy masked_scores new_classifier "
        "regression_scores sentence_correlation"
    ),
}
IDS = "input_ids attention_mask token_type_ids"
TOKENS = [[-100, 3, -100, -100], [-100, -100, 2, -100]]
# What each head learns from, for two rows of four tokens.
HEADS: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": {"labels": TOKENS},
    "BertForMultipleChoice": {"labels": [1]},
    "BertForNextSentencePrediction": {"labels": [0, 1]},
    "BertForPreTraining": {"labels": TOKENS, "next_sentence_label": [0, 1]},
    "BertForQuestionAnswering": {"start_positions": [1, 0], "end_positions": [2, 0]},
    "BertForSequenceClassification": {"labels": [4, 0]},
    "BertForTokenClassification": {"labels": TOKENS},
}
LOADED = "name_or_path dtype revision cache_dir local_files_only token mmap"
NEW_HEAD = "num_labels id2label label2id problem_type seed"
# A callable, and arguments that it takes by name.
ARGUMENTS = {
    "BertConfig.from_pretrained": "name_or_path revision cache_dir token num_labels",
    "BertConfig.save_pretrained": "save_directory force",
    "BertConfig.to_dict": "",
    "BertModel.__call__": (
        f"{IDS} position_ids inputs_embeds output_hidden_states output_attentions rng return_dict"
    ),
    "BertModel.eval": "",
    "BertModel.from_pretrained": f"{LOADED} only",
    "BertModel.save_pretrained": "",
    "BertModel.num_parameters": "",
    "BertModel.steps": f"{IDS} rng",
    "BertModel.to": "",
    "BertModel.trace": IDS,
    "BertForMaskedLM.fill_mask": "text top_k targets",
    "BertForNextSentencePrediction.is_next": "text text_pair",
    "BertForQuestionAnswering.answer": "question context top_k handle_impossible_answer",
    "BertForSequenceClassification.classify": "text text_pair top_k",
    "BertForTokenClassification.tag": "text aggregation",
    "BertTokenizer.__call__": (
        "text text_pair padding truncation max_length return_tensors split_special_tokens "
        "return_offsets_mapping return_special_tokens_mask"
    ),
    "BertTokenizer.from_pretrained": "name_or_path revision cache_dir local_files_only token",
    "CrossEncoder.__init__": (
        "model_name_or_path num_labels max_length activation_fn prompts default_prompt_name "
        "cache_folder revision local_files_only token dtype mmap"
    ),
    "CrossEncoder.predict": (
        "inputs prompt_name prompt batch_size show_progress_bar activation_fn apply_softmax"
    ),
    "CrossEncoder.rank": (
        "query documents top_k return_documents prompt_name prompt batch_size show_progress_bar "
        "activation_fn"
    ),
    "CrossEncoder.save_pretrained": "",
    "SentenceEncoder.__init__": (
        "model_name_or_path dtype revision cache_folder local_files_only token mmap prompts "
        "default_prompt_name similarity_fn_name truncate_dim device"
    ),
    "SentenceEncoder.encode": (
        "sentences prompt prompt_name batch_size normalize_embeddings pooling truncate_dim "
        "show_progress_bar output_value precision convert_to_numpy device inputs out"
    ),
    "SentenceEncoder.encode_document": "sentences",
    "SentenceEncoder.encode_query": "sentences",
    "SentenceEncoder.from_pretrained": LOADED,
    "SentenceEncoder.save_pretrained": "path force",
    "SentenceEncoder.search": "k",
    "SentenceEncoder.similarity": "",
    "SentenceEncoder.similarity_pairwise": "",
    "SparseEncoder.decode": "embeddings top_k",
    "SparseEncoder.encode": "sentences prompt_name prompt batch_size max_active_dims",
    "SparseEncoder.encode_document": "sentences",
    "SparseEncoder.encode_query": "sentences",
    "SparseEncoder.save_pretrained": "path force",
    "SparseEncoder.similarity": "",
    "community_detection": "embeddings threshold min_community_size batch_size show_progress_bar",
    "explain.figure": "features",
    "explain.read": "model tokenizer",
    "corpora.Index.search": "query k prompt_name prompt",
    "corpora.encode_corpus": (
        "encoder source output text_column input_format prompt_name prompt batch_size "
        "normalize_embeddings truncate_dim pooling precision bad_lines force restart note"
    ),
    "corpora.encode_index": (
        "encoder source path model_name_or_path revision cache_folder prompt_name prompt pooling "
        "truncate_dim normalize_embeddings precision"
    ),
    "corpora.open_source": "name column form",
    "corpora.write_index": "path texts vectors encoder model_name_or_path precision",
    "fetch": "name_or_path revision cache_dir local_files_only token only sha256",
    "integrations.dask.encode_bag": "bag model",
    "integrations.dask.encode_dataframe": "df column model output",
    "integrations.frames.encode_frames": "frames column model output",
    "open_index": (
        "path encoder model_name_or_path dtype revision cache_folder local_files_only token"
    ),
    "paraphrase_mining": "model sentences max_pairs top_k",
    "paraphrase_mining_embeddings": "embeddings max_pairs top_k",
    "quantize_embeddings": "embeddings precision ranges calibration_embeddings",
    "search": "k",
    "semantic_search": (
        "query_embeddings corpus_embeddings query_chunk_size corpus_chunk_size top_k score_function"
    ),
    "set_num_threads": "",
    "testing.assert_matches_bert": "model texts pair names allow all_positions",
    "testing.bisect_port": ("model inputs names arrays until only precision all_positions"),
    "testing.verify_trace": "model texts pair names reference allow all_positions",
    "training.Trainer.train": "",
    "training.CoSENTLoss": "model scale",
    "training.CosineSimilarityLoss": "model",
    "training.MultipleNegativesRankingLoss": "model scale",
    "training.SentenceEncoderTrainer": "model args train_dataset eval_dataset loss evaluator",
    "training.SentenceEncoderTrainer.save_model": "output_dir",
    "training.SentenceEncoderTrainer.train": "",
    "training.Trainer.save_model": "output_dir",
    "training.TrainingArguments.__init__": (
        "output_dir learning_rate num_train_epochs per_device_train_batch_size warmup_ratio "
        "batch_sampler seed"
    ),
    **{f"{head}.__call__": f"{IDS} position_ids {' '.join(HEADS[head])}" for head in HEADS},
    **{f"{head}.loss_and_gradients": "rng" for head in HEADS},
    **{f"{head}.from_pretrained": f"{LOADED} {NEW_HEAD}" for head in HEADS},
    **{f"{head}.save_pretrained": "" for head in HEADS},
    **{f"{head}.steps": IDS for head in HEADS},
}
HUB = "--revision --cache-dir --offline"
COMMANDS = {
    "answer": f"{HUB} --token --model --dtype --json --top-k --context-file --impossible",
    "bisect": (
        f"{HUB} --token --model --text --pair --ids --arrays --until --names --map --format "
        "--timeout --keep --precision --all-positions --json"
    ),
    "classify": f"{HUB} --token --model --dtype --json --top-k",
    "compare": (
        "--atol --rtol --check --equal-nan --map --allow --all-positions --fail-fast --verbose "
        "--json --html --force"
    ),
    "completion": "bash zsh fish",
    "embed": (
        f"{HUB} --token --model --dtype --step --truncate --dropout-seed --output --force --json"
    ),
    "encode": (
        f"{HUB} --token --input --model --dtype --normalize --pooling --prompt --prompt-name "
        "--truncate-dim --batch-size --precision --output --index --force --json --input-format "
        "--text-column --bad-lines --restart"
    ),
    "explain": f"{HUB} --hub-token --model --dtype --token --truncate --output --force",
    "fetch": f"{HUB} --token --only --verify --sha256 --lock --force",
    "fill-mask": f"{HUB} --token --model --dtype --json --top-k",
    "golden": f"{HUB} --token --names --output --yes",
    "inspect": f"{HUB} --token --check --json",
    "rerank": f"{HUB} --token --model --dtype --json --input --top-k",
    "search": f"{HUB} --token --model --dtype --json --top-k --prompt --prompt-name",
    "serve": (
        f"{HUB} --token --model --dtype --name --host --port --threads --workers --truncate "
        "--token-ids --max-body --max-texts --max-tokens --batch-tokens --queue-tokens "
        "--queue-requests --timeout"
    ),
    "similarity": f"{HUB} --token --model --dtype --json",
    "tag": f"{HUB} --token --model --dtype --json --aggregation",
    "trace": (
        f"{HUB} --token --pair --ids --padding-side --model --dtype --names --weights --output "
        "--force"
    ),
    "train": (
        f"{HUB} --token --data --eval-data --output --text-column --problem-type --model --dtype "
        "--teacher --epochs --max-steps --batch-size --accumulate --learning-rate --warmup "
        "--weight-decay --max-grad-norm --max-length --whole-words --next-sentence "
        "--group-by-length --seed --save-steps --eval-steps --patience --loss --scale mlm classify "
        "sentence pairs"
    ),
    "tune": "--output --show",
    "verify": (
        f"{HUB} --token --model --text --pair --reference --map --allow --all-positions "
        "--fail-fast --verbose --json --html --force"
    ),
}
NORM = "LayerNorm.mean LayerNorm.variance LayerNorm.rstd LayerNorm.normalized LayerNorm"
TRACE = [
    *(f"embeddings.{word}_embeddings" for word in ("word", "token_type", "position")),
    "embeddings.sum",
    *(f"embeddings.{part}" for part in NORM.split()),
    "embeddings.dropout",
    "embeddings",
    *(
        f"encoder.layer.{layer}{step}"
        for layer in range(2)
        for step in (
            *(f".attention.self.{part}" for part in ["query", "key", "value", "scores", "probs"]),
            *(".attention.self.dropout", ".attention.self"),
            *(f".attention.output.{part}" for part in f"dense dropout sum {NORM}".split()),
            *(".attention.output", ".attention", ".intermediate.dense", ".intermediate"),
            *(f".output.{part}" for part in f"dense dropout sum {NORM}".split()),
            *(".output", ""),
        )
    ),
    *("encoder", "pooler.dense", "pooler"),
]
REPORT = "verdict first cause sentence candidate against steps notes hidden not_looked_at"
ROW = """
    name verdict shape dtype max_abs max_rel ulp own inherited error budget unit worst value
    expected cause text reference
"""


def found(path: str) -> Any:
    """Return what stands at a dotted path within numpy_bert."""
    return pkgutil.resolve_name(f"numpy_bert.{path}")


@pytest.mark.parametrize("name", NAMES.split())
def test_a_public_name(name: str) -> None:
    assert getattr(numpy_bert, name).__name__ == name
    assert callable(getattr(numpy_bert, name))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("PreTrainedTokenizerFast", "BertTokenizer"),
        ("SentenceTransformer", "SentenceEncoder"),
        ("SentenceTransformerTrainer", "numpy_bert.training.SentenceEncoderTrainer"),
        ("Trainer", "numpy_bert.training.Trainer"),
        ("cos_sim", "similarity"),
        ("losses", "numpy_bert.training.MultipleNegativesRankingLoss, or another one there"),
        ("pairwise_cos_sim", "similarity_pairwise"),
    ],
)
def test_a_name_of_others_says_what_is_ours(name: str, ours: str) -> None:
    message = f"^numpy_bert has no {name!r}. Use {ours}.$"
    with pytest.raises(ImportError, match=message):
        exec(f"from numpy_bert import {name}")
    with pytest.raises(AttributeError, match=message):
        getattr(numpy_bert, name)
    assert not hasattr(numpy_bert, name)


def test_every_class_of_the_family_is_there() -> None:
    for name, (kind, end) in class_names().items():
        there = getattr(numpy_bert, name)
        assert there is getattr(numpy_bert, name)
        assert name in dir(numpy_bert)
        if name == "AutoConfig":
            assert there is numpy_bert.BertConfig
            continue
        assert there.__name__ == name
        assert pickle.loads(pickle.dumps(there)) is there
        assert there.__doc__
        if end == "Config":
            assert there().model_type == kind
            continue
        assert issubclass(there, numpy_bert.BertModel) == (end == "Model")
        assert there.model_type == (kind or "bert")
        if not kind:
            with pytest.raises(numpy_bert.InputError, match=f"^{name} is no model itself"):
                there(numpy_bert.BertConfig())
    names = "RobertaModel XLMRobertaForMaskedLM DPRContextEncoder AutoModelForQuestionAnswering"
    assert {*names.split()} < class_names().keys()


def test_every_name_that_is_said_is_there() -> None:
    for said in numpy_bert._OURS.values():
        first = re.findall(r"\w[\w.]*\w", said)[0]
        assert callable(found(first.removeprefix("numpy_bert."))), said
    with pytest.raises(AttributeError, match="module 'numpy_bert' has no attribute 'AutoGPT'"):
        _ = numpy_bert.AutoGPT
    with pytest.raises(ImportError, match="cannot import name 'AutoGPT'"):
        exec("from numpy_bert import AutoGPT")


@pytest.mark.parametrize("module", MODULES)
def test_a_documented_module(module: str) -> None:
    here = importlib.import_module(f"numpy_bert.{module}")
    for name in MODULES[module].split():
        assert hasattr(here, name), name


@pytest.mark.parametrize("path", ARGUMENTS)
def test_the_arguments_of(path: str) -> None:
    inspect.signature(found(path)).bind_partial(**dict.fromkeys(ARGUMENTS[path].split()))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    shown = re.findall(r"[\w-]+", capsys.readouterr().out)
    assert set(COMMANDS[command].split()) <= set(shown)


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert set(COMMANDS) <= set(capsys.readouterr().out.split())


def test_the_parts_of_the_input_embedding() -> None:
    model = numpy_bert.BertModel.from_pretrained("demo").eval()
    ids = np.array([[2, 5, 3]])
    embed = model.embeddings
    total = embed.word_embeddings(ids) + embed.token_type_embeddings(np.zeros_like(ids))
    total = total + embed.position_embeddings(np.arange(3))
    output = embed.dropout(embed.LayerNorm(total))
    assert np.abs(output - embed(ids)).max() < 1e-6
    steps = embed.steps(ids, rng=np.random.default_rng(0))
    assert np.array_equal(embed(ids, keep=steps.dropout.keep), steps.output)
    assert steps.LayerNorm.variance.shape == (1, 3, 1)
    buffer = np.empty((1, 3, 128), np.float32)
    assert embed(ids, out=buffer) is buffer


def test_the_parts_of_the_rest() -> None:
    model: Any = numpy_bert.BertModel.from_pretrained("demo")
    steps = model.steps([[2, 5, 3]])
    assert steps.encoder.layer[1].attention.self.probs.shape == (1, 2, 3, 3)
    assert model.parameters.encoder.layer[1].output.LayerNorm.weight.shape == (128,)
    assert model.loading_info.missing_keys == ()
    output = model([[2, 5, 3]], output_hidden_states=True, output_attentions=True)
    assert list(output.keys()) == [
        "last_hidden_state",
        "pooler_output",
        "hidden_states",
        "attentions",
    ]
    batch = {"input_ids": [[2, 4, 3]], "labels": [[-100, 459, -100]]}
    head: Any = numpy_bert.BertForMaskedLM.from_pretrained("demo")
    found = head.loss_and_gradients(batch)
    assert found.bert.encoder.layer[1].attention.self.query.weight.shape == (128, 128)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_called_learns_and_is_saved(name: str, tmp_path: Path) -> None:
    head = getattr(numpy_bert, name).from_pretrained(write_head(tmp_path / "old", name))
    ids: Any = [[2, 5, 6, 3], [2, 7, 3, 0]]
    mask: Any = [[1, 1, 1, 1], [1, 1, 1, 0]]
    if name == "BertForMultipleChoice":
        ids, mask = [ids], [mask]
    batch = {"input_ids": ids, "attention_mask": mask, **HEADS[name]}
    loss = head(**batch).loss
    assert loss > 0
    found = head.loss_and_gradients(batch)
    assert found.loss == pytest.approx(loss)
    assert found.bert.embeddings.word_embeddings.weight.shape == (head.config.vocab_size, 24)
    head.save_pretrained(tmp_path / "new")
    assert type(head).from_pretrained(tmp_path / "new")(**batch).loss == pytest.approx(loss)


def test_the_names_in_a_trace() -> None:
    names = [name for name, _ in numpy_bert.BertModel.from_pretrained("demo").trace([[2, 5, 3]])]
    assert names == TRACE


def test_the_json_of_both_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("port.npz", input_ids=np.array([[2, 5, 3]]), pooler=np.zeros((1, 128), np.float32))
    assert main(["verify", "port.npz", "--model", "demo", "--json", "--time-limit", "0"]) == 1
    verified = json.loads(capsys.readouterr().out)
    assert main(["compare", "port.npz", "port.npz", "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    for report in (verified, compared):
        assert set(report) == set(REPORT.split())
        assert set(report["steps"][0]) == set(ROW.split())


def test_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"bench", "dev", "png", "test", "threads"} <= set(project["optional-dependencies"])
