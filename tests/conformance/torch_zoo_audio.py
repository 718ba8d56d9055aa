# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers for images, sound, and both with text: narrow, random weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch_zoo_text import Make, made

_IMAGES: dict[str, tuple[int, dict[str, Any]]] = {
    "BeitForImageClassification": (32, {"image_size": 32, "patch_size": 8}),
    "BitModel": (32, {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
        "num_groups": 1}),
    "ConvNextForImageClassification": (32, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1,
        1]}),
    "ConvNextV2Model": (32, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}),
    "DPTForDepthEstimation": (32, {
        "image_size": 32, "patch_size": 8, "num_hidden_layers": 4, "backbone_out_indices": [0, 1,
            2, 3],
        "neck_hidden_sizes": [16, 16, 32, 32], "fusion_hidden_size": 16, "is_hybrid": False,
    }),
    "DeiTForImageClassification": (32, {"image_size": 32, "patch_size": 8}),
    "Dinov2Model": (28, {"image_size": 28, "patch_size": 14}),
    "Dinov2WithRegistersModel": (28, {"image_size": 28, "patch_size": 14}),
    "DepthAnythingForDepthEstimation": (28, {}),
    "DetrForObjectDetection": (64, {}),
    "EfficientNetModel": (64, {"image_size": 64, "depth_coefficient": 0.5}),
    "FocalNetModel": (32, {"image_size": 32, "embed_dim": 16, "depths": [1, 1],
        "hidden_sizes": [16, 32],
                           "focal_levels": [2, 2], "focal_windows": [3, 3], "patch_size": 2}),
    "GLPNForDepthEstimation": (64, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
                                    "decoder_hidden_size": 16}),
    "HieraModel": (64, {"image_size": [64, 64], "embed_dim": 8, "depths": [1, 1, 1, 1],
                        "num_heads": [1, 1, 1, 2]}),
    "IJepaModel": (32, {"image_size": 32, "patch_size": 8}),
    "LevitModel": (64, {"image_size": 64, "hidden_sizes": [16, 32, 48], "num_attention_heads": [2,
        3, 4],
                        "depths": [1, 1, 1], "key_dim": [8, 8, 8]}),
    "MobileNetV1Model": (64, {"depth_multiplier": 0.25}),
    "MobileNetV2ForSemanticSegmentation": (64, {"depth_multiplier": 0.25}),
    "MobileNetV2Model": (64, {"depth_multiplier": 0.25}),
    "MobileViTForSemanticSegmentation": (64, {"image_size": 64, "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32], "num_attention_heads": 2}),
    "MobileViTModel": (64, {"image_size": 64, "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32], "num_attention_heads": 2}),
    "MobileViTV2Model": (64, {"image_size": 64, "width_multiplier": 0.25}),
    "PoolFormerModel": (64, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}),
    "PvtV2Model": (64, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
                        "num_attention_heads": [1, 2, 2, 4], "image_size": 64}),
    "RegNetModel": (32, {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
        "groups_width": 8}),
    "ResNetForImageClassification": (32, {"embedding_size": 8, "hidden_sizes": [8, 16],
        "depths": [1, 1]}),
    "SamModel": (64, {}),
    "SegformerForSemanticSegmentation": (64, {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1,
        1],
        "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16}),
    "SwiftFormerModel": (64, {"image_size": 64, "embed_dims": [8, 16, 24, 32], "depths": [1, 1, 1,
        1]}),
    "Swin2SRForImageSuperResolution": (32, {"image_size": 32, "embed_dim": 16, "depths": [1, 1],
        "num_heads": [2, 2], "window_size": 4, "upscale": 2}),
    "SwinModel": (32, {"image_size": 32, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2],
                       "window_size": 4, "patch_size": 2}),
    "Swinv2Model": (32, {"image_size": 32, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2],
                         "window_size": 4, "patch_size": 2}),
    "UperNetForSemanticSegmentation": (64, {}),
    "ViTForImageClassification": (32, {"image_size": 32, "patch_size": 8}),
    "ViTMAEForPreTraining": (32, {"image_size": 32, "patch_size": 8, "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 37}),
    "ViTMSNModel": (32, {"image_size": 32, "patch_size": 8}),
    "VitDetModel": (32, {"image_size": 32, "patch_size": 8, "pretrain_image_size": 32}),
    "YolosForObjectDetection": (32, {"image_size": [32, 32], "patch_size": 8,
        "num_detection_tokens": 4}),
    "ZoeDepthForDepthEstimation": (64, {}),
}  # fmt: skip
_WAVES: dict[str, dict[str, Any]] = {
    name: {
        "conv_dim": [16, 16], "conv_kernel": [8, 4], "conv_stride": [4, 4],
            "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    }
    for name in (
        "Data2VecAudioModel", "HubertModel", "SEWModel", "UniSpeechModel", "UniSpeechSatModel",
        "Wav2Vec2ForCTC", "Wav2Vec2Model", "WavLMModel",
    )
}  # fmt: skip
_TALKING = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37,
}  # fmt: skip


def networks() -> dict[str, Make]:
    """By name; empty where transformers is not installed."""
    try:
        import transformers
    except ImportError:
        return {}
    found: dict[str, Make] = {}

    def add(name: str, options: Any, inputs: Callable[[Any], dict[str, Any]]) -> None:
        kind = getattr(transformers, name, None)
        if kind is not None:
            found[name] = functools.partial(_made, kind, options, inputs)

    for name, (size, options) in _IMAGES.items():
        special = _COMPOSED.get(name)
        add(name, special or options, functools.partial(_image, size))
    for name, options in _WAVES.items():
        add(name, options, lambda config: {"input_values": torch.randn(1, 1600)})
    for name, (options, inputs) in _OTHERS.items():
        add(name, options, inputs)
    add("CLIPModel", _two_towers(transformers.CLIPConfig), _image_and_text)
    add("SiglipModel", _two_towers(transformers.SiglipConfig), _image_and_text)
    return found


_NARROW = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
}  # fmt: skip


def _two_towers(config: Any) -> Callable[[], Any]:
    def make() -> Any:
        text = {**_NARROW, "vocab_size": 99, "max_position_embeddings": 16, "projection_dim": 16}
        text |= {"bos_token_id": 1, "eos_token_id": 98, "pad_token_id": 0}
        image = {**_NARROW, "image_size": 32, "patch_size": 8, "projection_dim": 16}
        return config(text_config=text, vision_config=image)

    return make


def _sam() -> Any:
    import transformers

    sight = {
        **_NARROW,
        "image_size": 64,
        "patch_size": 16,
        "output_channels": 16,
        "global_attn_indexes": [1],
        "window_size": 2,
        "num_pos_feats": 8,
        "mlp_dim": 37,
    }
    prompt = {
        "hidden_size": 16,
        "image_size": 64,
        "patch_size": 16,
        "image_embedding_size": 4,
        "mask_input_channels": 4,
    }
    masks = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    return transformers.SamConfig(
        vision_config=sight, prompt_encoder_config=prompt, mask_decoder_config=masks
    )


def _depth_anything() -> Any:
    import transformers

    backbone = transformers.Dinov2Config(
        **{**_NARROW, "num_hidden_layers": 4}, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
        apply_layernorm=True,
    )  # fmt: skip
    return transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, head_hidden_size=8,
    )  # fmt: skip


def _narrow_resnet() -> Any:
    import transformers

    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def _detr() -> Any:
    import transformers

    return transformers.DetrConfig(
        **{**_TALKING}, num_queries=6, use_timm_backbone=False, use_pretrained_backbone=False,
        backbone=None, backbone_config=_narrow_resnet(),
    )  # fmt: skip


def _uper_net() -> Any:
    import transformers

    return transformers.UperNetConfig(
        backbone_config=_narrow_resnet(), hidden_size=16, auxiliary_channels=8,
        auxiliary_in_channels=24, pool_scales=[1, 2], num_labels=5,
    )  # fmt: skip


_COMPOSED: dict[str, Callable[[], Any]] = {
    "DepthAnythingForDepthEstimation": _depth_anything,
    "DetrForObjectDetection": _detr,
    "SamModel": _sam,
    "UperNetForSemanticSegmentation": _uper_net,
}


def _made(kind: Any, options: Any, inputs: Callable[[Any], dict[str, Any]]) -> Any:
    """`options` are those of the configuration, or make it."""
    if not callable(options):
        return made(kind, options, inputs)
    config = options()
    return kind(config), (), inputs(config)


def _image(size: int, config: Any) -> dict[str, Any]:
    channels = getattr(config, "num_channels", 3)
    found = {"pixel_values": torch.randn(1, channels, size, size)}
    if type(config).__name__ == "ViTMAEConfig":
        found["noise"] = torch.rand(1, 16)
    if type(config).__name__ == "SamConfig":
        found["input_points"] = torch.tensor([[[[20.0, 30.0]]]])
    return found


def _image_and_text(config: Any) -> dict[str, Any]:
    ids = torch.randint(3, 98, (2, 8))
    ids[:, -1] = 98
    return {"input_ids": ids, "pixel_values": torch.randn(2, 3, 32, 32)}


def _speech(config: Any) -> dict[str, Any]:
    return {
        "input_features": torch.randn(1, 16, 100),
        "decoder_input_ids": torch.randint(3, 99, (1, 5)),
    }


def _decisions(config: Any) -> dict[str, Any]:
    return {
        "states": torch.randn(1, 6, 4),
        "actions": torch.randn(1, 6, 2),
        "returns_to_go": torch.randn(1, 6, 1),
        "timesteps": torch.arange(6).reshape(1, 6),
        "attention_mask": torch.ones(1, 6, dtype=torch.int64),
    }


_OTHERS: dict[str, tuple[dict[str, Any], Callable[[Any], dict[str, Any]]]] = {
    "WhisperForConditionalGeneration": (
        {**_TALKING, "max_source_positions": 50, "num_mel_bins": 16, "vocab_size": 99},
        _speech,
    ),
    "Speech2TextModel": (
        {
            **_TALKING,
            "vocab_size": 99,
            "input_feat_per_channel": 16,
            "max_source_positions": 100,
            "conv_channels": 16,
        },
        lambda config: {
            "input_features": torch.randn(1, 64, 16),
            "decoder_input_ids": torch.randint(3, 99, (1, 5)),
        },
    ),
    "ASTModel": (
        {"max_length": 64, "num_mel_bins": 32, "patch_size": 16},
        lambda config: {"input_values": torch.randn(1, 64, 32)},
    ),
    "EncodecModel": (
        {
            "num_filters": 4,
            "codebook_size": 32,
            "codebook_dim": 16,
            "hidden_size": 16,
            "upsampling_ratios": [4, 2],
            "num_lstm_layers": 1,
        },
        lambda config: {"input_values": torch.randn(1, 1, 640)},
    ),
    "VitsModel": (
        {
            "hidden_size": 16,
            "flow_size": 16,
            "ffn_dim": 32,
            "spectrogram_bins": 16,
            "vocab_size": 38,
            "num_attention_heads": 2,
            "upsample_initial_channel": 16,
        },
        lambda config: {"input_ids": torch.randint(1, 38, (1, 12))},
    ),
    "CLIPVisionModelWithProjection": (
        {"image_size": 32, "patch_size": 8, "projection_dim": 16},
        functools.partial(_image, 32),
    ),
    "PatchTSTForPrediction": (
        {
            "context_length": 32,
            "prediction_length": 8,
            "num_input_channels": 3,
            "patch_length": 8,
            "patch_stride": 4,
            "d_model": 16,
            "ffn_dim": 32,
        },
        lambda config: {"past_values": torch.randn(1, 32, 3)},
    ),
    "DecisionTransformerModel": (
        {"state_dim": 4, "act_dim": 2, "n_layer": 2, "n_head": 2, "max_ep_len": 32},
        _decisions,
    ),
}
