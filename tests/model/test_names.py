"""What hands used to transformers and torch type: taken, or refused in a line that names ours."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import numpy_bert
from numpy_bert import BertForMaskedLM, BertModel, BertTokenizer, InputError
from numpy_bert.model import names

MODELS = (BertModel, BertForMaskedLM)
TORCH = """
    bfloat16 buffers children compile cuda double float forward get_input_embeddings half
    load_state_dict modules named_buffers named_children named_modules push_to_hub
    register_forward_hook requires_grad_ resize_token_embeddings state_dict train training zero_grad
"""
# Arguments of from_pretrained that ask for what happens anyway, and that do not.
TAKEN: dict[str, Any] = {
    "add_pooling_layer": True,
    "attn_implementation": "eager",
    "config": None,
    "device_map": "cpu",
    "force_download": False,
    "ignore_mismatched_sizes": False,
    "low_cpu_mem_usage": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_loading_info": False,
    "quantization_config": None,
    "return_dict": True,
    "subfolder": "",
    "torch_dtype": None,
    "trust_remote_code": False,
    "use_auth_token": None,
    "use_safetensors": True,
    "weights_only": True,
}
REFUSED: dict[str, tuple[Any, str]] = {
    "attn_implementation": ("flash_attention_2", "computed in one way"),
    "device_map": ("cuda", "on the CPU"),
    "output_attentions": (True, r"model\(\.\.\., output_attentions=True\)"),
    "output_loading_info": (True, "It is model.loading_info"),
    "return_dict": (False, "output.to_tuple"),
    "torch_dtype": ("float16", "Its name is dtype"),
    "trust_remote_code": (True, "never run"),
    "use_auth_token": ("abc", "Its name is token"),
    "use_safetensors": (False, "Nothing else is read"),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param.from_pretrained("demo")


@pytest.mark.parametrize("name", TORCH.split())
def test_a_name_of_torch_says_what_to_use(name: str, model: Any) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    said = str(caught.value)
    assert said.startswith(f"{type(model).__name__} has no {name!r}. {names.TORCH[name]}")
    assert "\n" not in said
    assert not hasattr(model, name)


def test_any_other_name_is_an_attribute_that_is_not_there(model: Any) -> None:
    with pytest.raises(AttributeError, match=rf"^{type(model).__name__} has no 'nam'\.$"):
        _ = model.nam
    assert copy.deepcopy(model).num_parameters() == model.num_parameters()


def test_parameters_is_no_method(model: Any) -> None:
    is_bert = isinstance(model, BertModel)
    with pytest.raises(TypeError if is_bert else AttributeError, match=r"named_par.*Trainer"):
        model.parameters()
    tree: Any = model.parameters if is_bert else model.bert.parameters
    with pytest.raises(TypeError, match="no method"):
        tree(recurse=True)


def test_to_is_where_it_is(model: Any) -> None:
    assert model.to("cpu") is model.to(device="cpu", dtype="float32") is model.eval() is model
    assert model.device == "cpu"
    for asked in ("cuda", "float16", "float64"):
        with pytest.raises(InputError, match=rf"\.to: is on the CPU in float32.*got '{asked}'"):
            model.to(asked)


@pytest.mark.parametrize("kind", MODELS)
def test_arguments_of_loading(kind: Any) -> None:
    assert set(TAKEN) == set(names.LOADING)
    kind.from_pretrained("demo", **TAKEN)
    for name, (value, message) in REFUSED.items():
        with pytest.raises(InputError, match=rf"from_pretrained: {name} must be .*{message}"):
            kind.from_pretrained("demo", **{name: value})
    with pytest.raises(TypeError, match=r"from_pretrained\(\) got an unexpected .*'nothing'"):
        kind.from_pretrained("demo", nothing=1)


def test_return_dict(model: Any) -> None:
    ids = [[2, 5, 3]]
    for value in (True, None):
        assert len(model(ids, return_dict=value).to_tuple()) == len(model(ids))
    with pytest.raises(InputError, match=r"return_dict must be True or None; got False\. .*tuple"):
        model(ids, return_dict=False)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForTokenClassification"])
def test_a_constructor_takes_no_name(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}\(.*got 'demo'\. {name}\.from_pretrained\(name"):
        getattr(numpy_bert, name)("demo")


def test_a_model_reads_no_text(model: Any) -> None:
    for text in ("a text", ["a text", "two"], [["a", "b"]]):
        with pytest.raises(InputError, match=r"got text\. Write model\(\*\*tokenizer\(texts"):
            model(text)
    with pytest.raises(InputError, match=r"got BatchEncoding\. Write model\(\*\*inputs\)"):
        model(BertTokenizer.from_pretrained("demo")("a text", return_tensors="np"))
