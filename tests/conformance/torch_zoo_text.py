# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers for text: two narrow layers, random weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch

Make = Callable[[], tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]]

_WORDS = 99
# What most configurations call their sizes; each takes those it knows.
_SIZES: dict[str, Any] = {
    "vocab_size": _WORDS, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0,
}  # fmt: skip
# Class, and what its configuration needs beside _SIZES (None: not this one).
_ENCODERS: dict[str, dict[str, Any]] = {
    "AlbertModel": {"embedding_size": 16},
    "BertModel": {},
    "BertForQuestionAnswering": {},
    "BigBirdModel": {"attention_type": "original_full"},
    "CamembertModel": {},
    "CanineModel": {"local_transformer_stride": 4, "downsampling_rate": 4},
    "ConvBertModel": {"embedding_size": 32},
    "DebertaModel": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "DebertaV2Model": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "DistilBertForSequenceClassification": {"dim": 32, "n_layers": 2, "n_heads": 4,
        "hidden_dim": 37},
    "ElectraModel": {"embedding_size": 16},
    "ErnieModel": {},
    "FNetModel": {},
    "FunnelModel": {
        "block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 37,
        "num_hidden_layers": None,
    },
    "LayoutLMModel": {},
    "LongformerModel": {"attention_window": 4},
    "LukeModel": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "MPNetModel": {},
    "MegatronBertModel": {},
    "MobileBertModel": {
        "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32,
        "num_feedforward_networks": 2, "use_bottleneck": True,
    },
    "ModernBertModel": {"global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2},
    "NystromformerModel": {"segment_means_seq_len": 16, "num_landmarks": 16},
    "RemBertModel": {"input_embedding_size": 16},
    "RoFormerModel": {"embedding_size": 32},
    "RobertaForTokenClassification": {},
    "RobertaModel": {},
    "SqueezeBertModel": {"embedding_size": 32, "intermediate_size": 36},
    "XLMRobertaModel": {},
    "XLNetModel": {
        "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 37, "max_position_embeddings": None,
    },
    "YosoModel": {"use_expectation": True, "hash_code_len": 3},
}  # fmt: skip
_DECODERS: dict[str, dict[str, Any]] = {
    "BloomForCausalLM": {"n_layer": 2, "n_head": 4},
    "CodeGenForCausalLM": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "CohereForCausalLM": {"num_key_value_heads": 2},
    "FalconForCausalLM": {},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "GPTBigCodeForCausalLM": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "GPTJForCausalLM": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "GPTNeoForCausalLM": {
        "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
        "window_size": 4,
    },
    "GPTNeoXForCausalLM": {},
    "Gemma2ForCausalLM": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4},
    "Gemma3ForCausalLM": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4},
    "GemmaForCausalLM": {"num_key_value_heads": 1, "head_dim": 8},
    "GraniteForCausalLM": {"num_key_value_heads": 2},
    "LlamaForCausalLM": {"num_key_value_heads": 2},
    "Mamba2ForCausalLM": {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1,
        "chunk_size": 8},
    "MambaForCausalLM": {"state_size": 4},
    "MistralForCausalLM": {"num_key_value_heads": 2, "sliding_window": 4},
    "MixtralForCausalLM": {
        "num_key_value_heads": 2, "num_local_experts": 4, "intermediate_size": 36,
    },
    "MptForCausalLM": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "OPTForCausalLM": {"ffn_dim": 37, "word_embed_proj_dim": 32},
    "Olmo2ForCausalLM": {},
    "OlmoForCausalLM": {},
    "OpenAIGPTLMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "PersimmonForCausalLM": {},
    "Phi3ForCausalLM": {"num_key_value_heads": 2},
    "PhiForCausalLM": {},
    "Qwen2ForCausalLM": {"num_key_value_heads": 2},
    "Qwen2MoeForCausalLM": {
        "num_key_value_heads": 2, "num_experts": 4, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "Qwen3ForCausalLM": {"num_key_value_heads": 2, "head_dim": 8},
    "RecurrentGemmaForCausalLM": {"num_key_value_heads": 1, "lru_width": 32},
    "RwkvForCausalLM": {"context_length": 64},
    "SmolLM3ForCausalLM": {"num_key_value_heads": 2},
    "StableLmForCausalLM": {"num_key_value_heads": 2},
    "Starcoder2ForCausalLM": {"num_key_value_heads": 2},
    "XGLMForCausalLM": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 37},
}  # fmt: skip
_LAYERS = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37,
}  # fmt: skip
_PAIRS: dict[str, dict[str, Any]] = {
    "BartModel": _LAYERS,
    "BlenderbotModel": _LAYERS,
    "LEDModel": {**_LAYERS, "attention_window": 4},
    "LongT5Model": {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
    "M2M100Model": _LAYERS,
    "MBartModel": _LAYERS,
    "MT5Model": {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
    "MarianModel": _LAYERS,
    "PegasusModel": _LAYERS,
    "T5ForConditionalGeneration": {
        "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4,
    },
    "UMT5Model": {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
}  # fmt: skip


def networks() -> dict[str, Make]:
    """By name; empty where transformers is not installed."""
    try:
        import transformers
    except ImportError:
        return {}
    found: dict[str, Make] = {}
    for name, options in {**_ENCODERS, **_DECODERS, **_PAIRS}.items():
        kind = getattr(transformers, name, None)
        if kind is None:
            continue
        inputs = _sentences if name in _ENCODERS else _pairs if name in _PAIRS else _words
        found[name] = functools.partial(made, kind, options, inputs)
    found["T5EncoderModel"] = functools.partial(
        made, transformers.T5EncoderModel, _PAIRS["T5ForConditionalGeneration"], _sentences
    )
    found["LlamaForCausalLM with a static cache"] = functools.partial(
        _static, transformers, _DECODERS["LlamaForCausalLM"]
    )
    with contextlib.suppress(ImportError, AttributeError):  # so that caches are trees of tensors
        from transformers.integrations import executorch

        executorch.register_dynamic_cache_export_support()
    cached = {**_DECODERS["LlamaForCausalLM"], "use_cache": True}
    found["LlamaForCausalLM, one step with its cache"] = functools.partial(
        made, transformers.LlamaForCausalLM, cached, _step
    )
    return found


def _known(config: Any, name: str) -> bool:
    """Whether the configuration has a size of this name of its own, not as another's synonym."""
    try:
        return hasattr(config, name) and name not in getattr(config, "attribute_map", {})
    except NotImplementedError:  # a size that this family does not have
        return False


def made(kind: Any, options: dict[str, Any], inputs: Callable[[Any], dict[str, Any]]) -> Any:
    """A model of class `kind`, what `inputs` of its configuration gives as keywords."""
    default = kind.config_class()
    sizes = {name: size for name, size in _SIZES.items() if _known(default, name)}
    given = {**sizes, "use_cache": False, **options}
    config = kind.config_class(**{k: v for k, v in given.items() if v is not None})
    return kind(config), (), inputs(config)


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(3, _WORDS, (batch, length))


def _sentences(config: Any) -> dict[str, Any]:
    """Two sentences, the second of which is shorter."""
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 10:] = 0
    if type(config).__name__ == "FNetConfig":
        return {"input_ids": _ids(2, 16)}
    return {"input_ids": _ids(2, 16), "attention_mask": mask}


def _words(config: Any) -> dict[str, Any]:
    return {"input_ids": _ids(1, 12)}


def _pairs(config: Any) -> dict[str, Any]:
    return {"input_ids": _ids(1, 12), "decoder_input_ids": _ids(1, 5)}


def _static(transformers: Any, options: dict[str, Any]) -> Any:
    """A decoder whose keys and values are buffers: state of the converted model."""
    from transformers.integrations import executorch

    module, _, _ = made(transformers.LlamaForCausalLM, {**options, "use_cache": True}, _words)
    cache = {"batch_size": 1, "max_cache_len": 16}
    module.generation_config = transformers.GenerationConfig(
        use_cache=True, cache_implementation="static", cache_config=cache
    )
    wrapped = executorch.TorchExportableModuleWithStaticCache(module, 1, 16)
    return wrapped, (), {"input_ids": _ids(1, 1), "cache_position": torch.tensor([0])}


def _step(config: Any) -> dict[str, Any]:
    """One word behind eight that were seen."""
    import transformers

    cache = transformers.DynamicCache()
    size = config.hidden_size // config.num_attention_heads
    for layer in range(config.num_hidden_layers):
        seen = torch.randn(2, 1, config.num_key_value_heads, 8, size)
        cache.update(seen[0], seen[1], layer)
    return {"input_ids": _ids(1, 1), "past_key_values": cache}
