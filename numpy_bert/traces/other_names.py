"""What transformers' outputs, torch's ONNX exporter and TransformerLens call BERT's steps.

The same rules that a name map holds: a name with ``*`` for whatever stands there, and the step with
``*`` in its place; or the step and the axes of the array, where they are not the step's own.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OTHER_NAMES", "Rule"]

Rule = str | tuple[str, str]

_LAYER = "encoder.layer.*"
_BLOCK = "blocks.*"

_TRANSFORMERS: Mapping[str, Rule] = {
    # Modules that are one step with the one around them.
    "encoder.layer.*.intermediate.intermediate_act_fn": f"{_LAYER}.intermediate",
    "pooler.activation": "pooler",
    # Outputs, as fields of what a model returns and as names in an exported graph.
    "last_hidden_state": "encoder",
    "pooler_output": "pooler",
    "hidden_states.0": "embeddings",
    "hidden_states_0": "embeddings",
    "attentions.*": f"{_LAYER}.attention.self.dropout",
    "attentions_*": f"{_LAYER}.attention.self.dropout",
}
# The path of a module and the operator that ends it; what stands before the path is cut off.
_ONNX: Mapping[str, Rule] = {
    "/embeddings/word_embeddings/Gather_output_0": "embeddings.word_embeddings",
    "/embeddings/token_type_embeddings/Gather_output_0": "embeddings.token_type_embeddings",
    "/embeddings/position_embeddings/Gather_output_0": "embeddings.position_embeddings",
    "/embeddings/Add_1_output_0": "embeddings.sum",
    "/embeddings/LayerNorm/LayerNormalization_output_0": "embeddings.LayerNorm",
    "/embeddings/LayerNorm/Add_1_output_0": "embeddings.LayerNorm",
    "/encoder/layer.*/attention/self/query/Add_output_0": f"{_LAYER}.attention.self.query",
    "/encoder/layer.*/attention/self/key/Add_output_0": f"{_LAYER}.attention.self.key",
    "/encoder/layer.*/attention/self/value/Add_output_0": f"{_LAYER}.attention.self.value",
    "/encoder/layer.*/attention/self/Add_output_0": f"{_LAYER}.attention.self.scores",
    "/encoder/layer.*/attention/self/Softmax_output_0": f"{_LAYER}.attention.self.probs",
    "/encoder/layer.*/attention/self/Reshape_3_output_0": f"{_LAYER}.attention.self",
    "/encoder/layer.*/attention/output/dense/Add_output_0": f"{_LAYER}.attention.output.dense",
    "/encoder/layer.*/attention/output/Add_output_0": f"{_LAYER}.attention.output.sum",
    "/encoder/layer.*/attention/output/LayerNorm/LayerNormalization_output_0": (
        f"{_LAYER}.attention.output.LayerNorm"
    ),
    "/encoder/layer.*/attention/output/LayerNorm/Add_1_output_0": (
        f"{_LAYER}.attention.output.LayerNorm"
    ),
    "/encoder/layer.*/intermediate/dense/Add_output_0": f"{_LAYER}.intermediate.dense",
    "/encoder/layer.*/intermediate/intermediate_act_fn/Mul_1_output_0": f"{_LAYER}.intermediate",
    "/encoder/layer.*/output/dense/Add_output_0": f"{_LAYER}.output.dense",
    "/encoder/layer.*/output/Add_output_0": f"{_LAYER}.output.sum",
    "/encoder/layer.*/output/LayerNorm/LayerNormalization_output_0": f"{_LAYER}.output.LayerNorm",
    "/encoder/layer.*/output/LayerNorm/Add_1_output_0": f"{_LAYER}.output.LayerNorm",
    "/pooler/dense/Gemm_output_0": "pooler.dense",
    "/pooler/activation/Tanh_output_0": "pooler",
}
# HookedEncoder. hook_scale is 1 / rstd, which is no step here.
_TRANSFORMER_LENS: Mapping[str, Rule] = {
    "embed.hook_embed": "embeddings.word_embeddings",
    "embed.hook_token_type_embed": "embeddings.token_type_embeddings",
    "embed.hook_pos_embed": "embeddings.position_embeddings",
    "embed.ln.hook_normalized": "embeddings.LayerNorm",
    "hook_full_embed": "embeddings",
    f"{_BLOCK}.attn.hook_q": (f"{_LAYER}.attention.self.query", "BTAD"),
    f"{_BLOCK}.attn.hook_k": (f"{_LAYER}.attention.self.key", "BTAD"),
    f"{_BLOCK}.attn.hook_v": (f"{_LAYER}.attention.self.value", "BTAD"),
    f"{_BLOCK}.attn.hook_attn_scores": f"{_LAYER}.attention.self.scores",
    f"{_BLOCK}.attn.hook_pattern": f"{_LAYER}.attention.self.probs",
    f"{_BLOCK}.attn.hook_z": (f"{_LAYER}.attention.self", "BTAD"),
    f"{_BLOCK}.hook_attn_out": f"{_LAYER}.attention.output.dense",
    f"{_BLOCK}.hook_resid_mid": f"{_LAYER}.attention.output.sum",
    f"{_BLOCK}.ln1.hook_normalized": f"{_LAYER}.attention.output.LayerNorm",
    f"{_BLOCK}.mlp.hook_pre": f"{_LAYER}.intermediate.dense",
    f"{_BLOCK}.mlp.hook_post": f"{_LAYER}.intermediate",
    f"{_BLOCK}.hook_mlp_out": f"{_LAYER}.output.dense",
    # The sum before the second LayerNorm; behind it is what transformers calls a hidden state.
    f"{_BLOCK}.hook_resid_post": f"{_LAYER}.output.sum",
    f"{_BLOCK}.ln2.hook_normalized": f"{_LAYER}.output.LayerNorm",
    f"{_BLOCK}.hook_normalized_resid_post": _LAYER,
    "pooler.hook_pooler_out": "pooler",
}

OTHER_NAMES: Mapping[str, Rule] = {**_TRANSFORMERS, **_ONNX, **_TRANSFORMER_LENS}
