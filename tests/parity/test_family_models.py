"""The models of BERT's family against transformers' own, of tiny random ones of odd sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert import architectures
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.loading.stored import SafetensorsFile
from tests.support import checkpoints
from tests.support.family_models import in_words_of
from tests.tolerances import ENCODER_FLOAT64_AGAINST_TORCH, WILD, fast_encoder_budget

Settings = dict[str, Any]
SIZES: Settings = checkpoints.SIZES | {"initializer_range": 0.3}
DISTILBERT = in_words_of("distilbert", SIZES)
# A class, and its config. Padding's ids, epsilons and activations are not those of the defaults.
CASES: dict[str, tuple[str, Settings]] = {
    "roberta": ("RobertaModel", SIZES | {"layer_norm_eps": 1e-3, "type_vocab_size": 1}),
    "roberta, pad 4": ("RobertaModel", SIZES | {"pad_token_id": 4, "hidden_act": "relu"}),
    "xlm-roberta": ("XLMRobertaModel", SIZES | {"layer_norm_eps": 1e-5, "type_vocab_size": 1}),
    "camembert": ("CamembertModel", SIZES | {"hidden_act": "gelu_new"}),
    "distilbert": ("DistilBertModel", DISTILBERT),
    "distilbert, relu": ("DistilBertModel", DISTILBERT | {"activation": "relu"}),
    "electra": ("ElectraModel", SIZES | {"embedding_size": 10, "layer_norm_eps": 1e-3}),
    "electra, no projection": ("ElectraModel", SIZES | {"embedding_size": 24}),
    "ernie": ("ErnieModel", SIZES | {"use_task_id": True, "task_type_vocab_size": 5}),
    "ernie, no tasks": ("ErnieModel", SIZES | {"layer_norm_eps": 1e-3}),
    "dpr": ("DPRQuestionEncoder", SIZES | {"layer_norm_eps": 1e-3}),
    "dpr, projected": ("DPRContextEncoder", SIZES | {"projection_dim": 11, "hidden_act": "relu"}),
    "mpnet": ("MPNetModel", SIZES | {"layer_norm_eps": 1e-3}),
    "mpnet, pad 7": ("MPNetModel", SIZES | {"pad_token_id": 7, "hidden_act": "gelu_new"}),
}
every_case = pytest.mark.parametrize("case", CASES)
MASKS = {
    "no padding": ("1111111", "1111111", "1111111"),
    "right": ("1111100", "1111111", "1110000"),
    "left": ("0011111", "1111111", "0000111"),
    "holes": ("1011010", "0111111", "1110011"),
}
B, T = 3, 7


def wild(name: str, settings: Settings) -> Any:
    """Return transformers' model with numbers everywhere, where it starts with 0 and 1 too."""
    torch.manual_seed(len(name))
    config = getattr(transformers, name).config_class(**settings)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder in which transformers has saved each case."""
    found = {}
    for case, (name, settings) in CASES.items():
        found[case] = tmp_path_factory.mktemp("family") / case
        wild(name, settings).save_pretrained(found[case])
    return found


def theirs_of(case: str, folder: Path, dtype: str) -> Any:
    return (
        getattr(transformers, CASES[case][0])
        .from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="eager")
        .eval()
    )


def batches(config: BertConfig, dtype: str) -> Iterator[tuple[str, Settings]]:
    """Yield what a model is called with: padding everywhere, pairs, positions, rows for ids."""
    rng = np.random.default_rng(5)
    pad = config.pad_token_id or 0
    ids = rng.integers(8, config.vocab_size, (B, T))
    for name, rows in MASKS.items():
        mask = np.array([[int(bit) for bit in row] for row in rows])
        padded = np.where(mask == 1, ids, pad)
        yield name, {"input_ids": padded, "attention_mask": mask}
        within = padded.copy()
        within[1, [1, 4]] = pad  # where the mask has a token, which positions do not go by
        within[0, 0] = 9  # and a token where it has padding
        yield f"{name}, padding's ids elsewhere", {"input_ids": within, "attention_mask": mask}
    yield "no mask", {"input_ids": within}
    if config.type_vocab_size > 1:
        types = np.array([[0] * 4 + [1] * 3] * B)
        yield "pairs", {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    if config.architecture.model_type != "dpr":  # whose forward takes none
        places = rng.integers(0, config.max_position_embeddings, (B, T))
        yield "positions", {"input_ids": ids, "attention_mask": mask, "position_ids": places}
    given = rng.standard_normal((B, T, config.embedding_features)).astype(dtype)
    yield "rows", {"inputs_embeds": given, "attention_mask": mask}


def called(model: Any, inputs: Settings) -> dict[str, Any]:
    """Return everything that transformers' model returns."""
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        output = model(**given, output_hidden_states=True, output_attentions=True, return_dict=True)
    found = {f"state {number}": state for number, state in enumerate(output.hidden_states)}
    found |= {f"weights {number}": state for number, state in enumerate(output.attentions)}
    if getattr(output, "pooler_output", None) is not None:
        found["pooled"] = output.pooler_output
    return {name: array.numpy() for name, array in found.items()}


def ours_called(model: Any, inputs: Settings, **options: Any) -> dict[str, Any]:
    output = model(**inputs, output_hidden_states=True, output_attentions=True, **options)
    found = {f"state {number}": state for number, state in enumerate(output.hidden_states)}
    found |= {f"weights {number}": state for number, state in enumerate(output.attentions)}
    if output.pooler_output is not None:
        found["pooled"] = output.pooler_output
    return found


@every_case
def test_the_whole_model_in_float64(case: str, folders: dict[str, Path]) -> None:
    ours = numpy_bert.AutoModel.from_pretrained(folders[case], dtype="float64")
    theirs = theirs_of(case, folders[case], "float64")
    assert type(ours).__name__ == CASES[case][0]
    for name, inputs in batches(ours.config, "float64"):
        expected = called(theirs, inputs)
        found = ours_called(ours, inputs, unpad_inputs=False)
        assert found.keys() == expected.keys()
        for key, array in found.items():
            error = np.abs(array - expected[key]).max()
            assert error <= ENCODER_FLOAT64_AGAINST_TORCH, f"{name}: {key}"
        at_tokens(ours, inputs, expected, ENCODER_FLOAT64_AGAINST_TORCH)


def at_tokens(ours: Any, inputs: Settings, expected: dict[str, Any], budget: float) -> None:
    """Hold what leaves padding out to what computes it, at tokens."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return
    last = max(key for key in expected if key.startswith("state"))
    output = ours(**inputs)
    tokens = mask == 1
    assert np.abs(output.last_hidden_state - expected[last])[tokens].max() <= budget
    first = tokens[:, 0]
    if output.pooler_output is not None and first.any():
        assert np.abs(output.pooler_output - expected["pooled"])[first].max() <= budget


@every_case
def test_the_whole_model_in_float32(case: str, folders: dict[str, Path]) -> None:
    ours = numpy_bert.AutoModel.from_pretrained(folders[case])
    theirs = {dtype: theirs_of(case, folders[case], dtype) for dtype in ("float32", "float64")}
    for name, inputs in batches(ours.config, "float32"):
        wide = {k: v.astype("f8") if v.dtype == "f4" else v for k, v in inputs.items()}
        exact = called(theirs["float64"], wide)
        rounded = called(theirs["float32"], inputs)
        budgets = {key: WILD * fast_encoder_budget(exact[key], rounded[key]) for key in exact}
        for key, array in ours_called(ours, inputs, unpad_inputs=False).items():
            assert array.dtype == np.float32
            assert np.abs(array - exact[key]).max() <= budgets[key], f"{name}: {key}"
        at_tokens(ours, inputs, exact, max(budgets.values()))


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sequences_one_after_another(case: str, dtype: str, folders: dict[str, Path]) -> None:
    """They are what each is alone."""
    ours = numpy_bert.AutoModel.from_pretrained(folders[case], dtype=dtype)
    theirs = theirs_of(case, folders[case], dtype)
    rng, lengths = np.random.default_rng(0), [2, 5, 5, 9]
    flat = rng.integers(8, 61, sum(lengths))
    flat[4] = 1  # within a sequence
    found = ours.packed(flat, lengths)
    some = ours.packed(flat, lengths, places=[20, 0, 7])
    assert np.abs(some - found[[20, 0, 7]]).max() <= 1e-5
    start = 0
    for length in lengths:
        ids = flat[np.newaxis, start : start + length]
        last = called(theirs, {"input_ids": ids, "attention_mask": np.ones_like(ids)})["state 2"]
        budget = ENCODER_FLOAT64_AGAINST_TORCH if dtype == "float64" else 1e-4
        assert np.abs(found[start : start + length] - last[0]).max() <= budget
        start += length


@every_case
def test_what_each_saves_the_other_loads(
    case: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    ours = numpy_bert.AutoModel.from_pretrained(folders[case])
    info = ours.loading_info
    assert (info.missing_keys, info.unexpected_keys, info.notes) == ((), (), ())
    assert info.rules[0].startswith("The model is ")
    ours.save_pretrained(tmp_path)
    written = SafetensorsFile(tmp_path / "model.safetensors").tensors
    stored = SafetensorsFile(folders[case] / "model.safetensors").tensors
    assert written.keys() == stored.keys()
    assert all(written[name].has_bytes_of(stored[name]) for name in written)
    settings, theirs = (
        json.loads((folder / "config.json").read_text()) for folder in (tmp_path, folders[case])
    )
    assert settings["architectures"] == theirs["architectures"]
    assert {name: theirs.get(name, value) for name, value in settings.items()} == settings
    loaded, said = getattr(transformers, CASES[case][0]).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    expected = theirs_of(case, folders[case], "float32").config.to_dict()
    del expected["_name_or_path"]
    assert {name: loaded.config.to_dict()[name] for name in expected} == expected


@every_case
@pytest.mark.parametrize("prefix", ["0.auto_model.", "module."])
def test_a_model_may_hang_under_a_prefix(
    case: str, prefix: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    ours = numpy_bert.AutoModel.from_pretrained(folders[case])
    arrays = ours.stored_parameters()
    ours.save_pretrained(tmp_path)
    hang(tmp_path, {f"{prefix}{name}": array for name, array in arrays.items()})
    again = numpy_bert.AutoModel.from_pretrained(tmp_path)
    same(again, ours)
    entry = ours.config.architecture
    if entry.encoders:
        return
    hang(tmp_path, {f"{prefix}{entry.prefix}{name}": array for name, array in arrays.items()})
    same(numpy_bert.AutoModel.from_pretrained(tmp_path), ours)


def hang(folder: Path, arrays: dict[str, Any]) -> None:
    """Write the weights of a folder anew."""
    from safetensors.numpy import save_file

    (folder / "model.safetensors").unlink()
    save_file(
        {name: np.array(array) for name, array in arrays.items()}, folder / "model.safetensors"
    )


def same(one: Any, other: Any) -> None:
    arrays = dict(other.named_parameters())
    found = dict(one.named_parameters())
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


@every_case
def test_the_input_embedding_alone(case: str, folders: dict[str, Path]) -> None:
    whole = numpy_bert.AutoModel.from_pretrained(folders[case])
    part = numpy_bert.AutoModel.from_pretrained(folders[case], only="embeddings")
    ids = np.array([[9, 8, 10, 1]])
    assert np.array_equal(part.embeddings(ids), whole.embeddings(ids))


# Configs as they are published, by what transformers documents and what the model cards state.
PUBLISHED: dict[str, Settings] = {
    "roberta-base": {
        "architectures": ["RobertaForMaskedLM"],
        "model_type": "roberta",
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "vocab_size": 50265,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    },
    "xlm-roberta-base": {
        "architectures": ["XLMRobertaForMaskedLM"],
        "model_type": "xlm-roberta",
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "vocab_size": 250002,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
    },
    "xlm-roberta-large": {
        "model_type": "xlm-roberta",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "vocab_size": 250002,
    },
    "bge-m3": {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 8194,
        "type_vocab_size": 1,
        "vocab_size": 250002,
    },
    "camembert-base": {
        "architectures": ["CamembertForMaskedLM"],
        "model_type": "camembert",
        "bos_token_id": 5,
        "eos_token_id": 6,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "vocab_size": 32005,
    },
    "distilbert-base-uncased": {
        "activation": "gelu",
        "architectures": ["DistilBertForMaskedLM"],
        "attention_dropout": 0.1,
        "dim": 768,
        "dropout": 0.1,
        "hidden_dim": 3072,
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "model_type": "distilbert",
        "n_heads": 12,
        "n_layers": 6,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": 30522,
    },
    "electra-small-discriminator": {
        "architectures": ["ElectraForPreTraining"],
        "embedding_size": 128,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "model_type": "electra",
        "num_attention_heads": 4,
        "num_hidden_layers": 12,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
        "summary_type": "first",
        "summary_use_proj": True,
        "type_vocab_size": 2,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    "electra-base-discriminator": {
        "model_type": "electra",
        "embedding_size": 768,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "type_vocab_size": 2,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    "ernie-2.0-base-en": {
        "model_type": "ernie",
        "hidden_size": 768,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 512,
        "type_vocab_size": 4,
        "task_type_vocab_size": 3,
        "vocab_size": 30522,
        "use_task_id": False,
    },
    "ernie-3.0-base-zh": {
        "architectures": ["ErnieForMaskedLM"],
        "model_type": "ernie",
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "type_vocab_size": 4,
        "task_type_vocab_size": 3,
        "use_task_id": True,
        "vocab_size": 40000,
    },
    "dpr-question_encoder-single-nq-base": {
        "architectures": ["DPRQuestionEncoder"],
        "gradient_checkpointing": False,
        "model_type": "dpr",
        "projection_dim": 0,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    },
    "all-mpnet-base-v2": {
        "architectures": ["MPNetForMaskedLM"],
        "model_type": "mpnet",
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "relative_attention_num_buckets": 32,
        "vocab_size": 30527,
        "pad_token_id": 1,
    },
}
# What a text may have, and how many numbers the model has without a head.
EXPECTED = {
    "roberta-base": (512, 124_645_632),
    "xlm-roberta-base": (512, 278_043_648),
    "xlm-roberta-large": (512, 559_890_432),
    "bge-m3": (8192, 567_754_752),
    "camembert-base": (512, 110_621_952),
    "distilbert-base-uncased": (512, 66_362_880),
    "electra-small-discriminator": (512, 13_483_008),
    "electra-base-discriminator": (512, 108_891_648),
    "ernie-2.0-base-en": (512, 109_483_776),
    "ernie-3.0-base-zh": (2048, 117_944_832),
    "dpr-question_encoder-single-nq-base": (512, 108_891_648),
    "all-mpnet-base-v2": (512, 109_486_464),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_as_published_give_the_shapes_of_transformers(name: str, tmp_path: Path) -> None:
    from numpy_bert.loading.keys import stored
    from numpy_bert.parameters import BertParameters, shapes

    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]))
    ours = numpy_bert.AutoConfig.from_pretrained(tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(theirs)
    entry = ours.architecture
    table = shapes(BertParameters, ours)
    keys = {f"bert.{key}" if entry.encoders else key: shape for key, shape in table.items()}
    found = {stored(key, entry, entry.prefix if entry.encoders else ""): keys[key] for key in keys}
    assert found == {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    most, numbers = EXPECTED[name]
    assert ours.max_tokens == most
    assert sum(tensor.numel() for tensor in model.parameters()) == numbers
    own = {key: value for key, value in ours.to_dict().items() if key in PUBLISHED[name]}
    assert own == {key: PUBLISHED[name][key] for key in own}
    ours.save_pretrained(tmp_path / "saved")
    again = transformers.AutoConfig.from_pretrained(tmp_path / "saved")
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        assert getattr(again, key) == getattr(theirs, key)


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind != "bert"])
def test_defaults_are_those_of_transformers(kind: str) -> None:
    theirs = transformers.AutoConfig.for_model(kind).to_dict()
    ours = BertConfig(model_type=kind).to_dict()
    assert {name: theirs.get(name) for name in ours} == ours


def test_a_class_refuses_another_ones_checkpoint(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"is of an MPNet .* Use MPNetModel or AutoModel\.$"):
        numpy_bert.BertModel.from_pretrained(folders["mpnet"])
    with pytest.raises(
        ConfigError, match=r"RobertaModel is for a RoBERTa\. Use XLMRobertaModel or"
    ):
        numpy_bert.RobertaModel.from_pretrained(folders["xlm-roberta"])
    words = r"Use ElectraForMaskedLM or AutoModelForMaskedLM\.$"
    with pytest.raises(ConfigError, match=words):
        numpy_bert.BertForMaskedLM.from_pretrained(folders["electra"])
    words = r"Use DPRQuestionEncoder or DPRContextEncoder, as it has no such head\.$"
    with pytest.raises(ConfigError, match=words):
        numpy_bert.BertForMaskedLM.from_pretrained(folders["dpr"])
    words = r"a DPR \(model_type = 'dpr'\) has no head \.\.\.ForMaskedLM\. AutoModel loads it"
    with pytest.raises(ConfigError, match=words):
        numpy_bert.AutoModelForMaskedLM.from_pretrained(folders["dpr"])
    words = r"holds a DPRContextEncoder, and DPRQuestionEncoder is for another one\. Use DPRContext"
    with pytest.raises(CheckpointError, match=words):
        numpy_bert.DPRQuestionEncoder.from_pretrained(folders["dpr, projected"])
    with pytest.raises(ConfigError, match=r"^BertModel\(config\): is of a RoBERTa"):
        numpy_bert.BertModel(BertConfig(model_type="roberta"))


def test_a_model_under_a_head_is_found(tmp_path: Path) -> None:
    for name, settings in (
        ("RobertaForMaskedLM", SIZES),
        ("DistilBertForMaskedLM", DISTILBERT),
        ("ElectraForMaskedLM", SIZES | {"embedding_size": 10}),
        ("MPNetForMaskedLM", SIZES),
        ("ErnieForMaskedLM", SIZES),
    ):
        folder = tmp_path / name
        theirs = wild(name, settings)
        theirs.save_pretrained(folder)
        ours = numpy_bert.AutoModel.from_pretrained(folder, dtype="float64")
        assert not [key for key in ours.loading_info.missing_keys if "pooler" not in key]
        ids = np.array([[8, 9, 10], [11, 12, 1]])
        with torch.no_grad():
            expected = theirs.double().base_model(torch.from_numpy(ids)).last_hidden_state
        found = ours(ids).last_hidden_state
        assert np.abs(found - expected.numpy()).max() <= ENCODER_FLOAT64_AGAINST_TORCH


def test_another_architecture_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """data2vec-text, which is RoBERTa under another name, in one line."""
    entry = architectures.like_roberta(
        "data2vec-text", "Data2Vec", "Data2VecText", "data2vec_text."
    )
    monkeypatch.setitem(architectures._BY_TYPE, entry.model_type, entry)
    for name, labels in (
        ("Data2VecTextModel", {}),
        ("Data2VecTextForMaskedLM", {"labels": np.array([[-100, 3, 9, -100]] * 2)}),
        ("Data2VecTextForSequenceClassification", {"labels": np.array([1, 0])}),
        ("Data2VecTextForTokenClassification", {"labels": np.array([[0, 1, 1, -100]] * 2)}),
        ("Data2VecTextForQuestionAnswering", {}),
    ):
        theirs = wild(name, SIZES | {"layer_norm_eps": 1e-5}).double()
        theirs.save_pretrained(tmp_path / name)
        inputs = {"input_ids": np.array([[8, 9, 10, 1], [11, 1, 12, 13]]), **labels}
        ours = getattr(numpy_bert, name).from_pretrained(tmp_path / name, dtype="float64")
        found = ours(**inputs)
        with torch.no_grad():
            expected = theirs(**{key: torch.from_numpy(a) for key, a in inputs.items()})
        assert type(ours).__name__ == name
        for key, value in found.items():
            error = np.abs(value - expected[key].numpy()).max()
            assert error <= ENCODER_FLOAT64_AGAINST_TORCH, f"{name}: {key}"
        ours.save_pretrained(tmp_path / "again" / name)
        again, said = getattr(transformers, name).from_pretrained(
            tmp_path / "again" / name, output_loading_info=True
        )
        assert not said["missing_keys"]
        assert not said["unexpected_keys"]
        assert again.config.model_type == "data2vec-text"
