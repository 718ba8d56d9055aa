# SPDX-License-Identifier: Apache-2.0
"""Networks of torchvision and timm: one of every family, the smallest there is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

# (module, inputs, keyword inputs), made when called
Make = Callable[[], tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]]

_CLASSIFIERS = {
    "alexnet": 64, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64,
    "efficientnet_v2_s": 64, "googlenet": 64, "inception_v3": 96, "maxvit_t": 224,
    "mnasnet0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "regnet_x_400mf": 64,
    "regnet_y_400mf": 64, "resnet18": 64, "resnext50_32x4d": 64, "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64, "swin_t": 64, "swin_v2_t": 64, "vgg11_bn": 32, "vit_b_32": 224,
    "wide_resnet50_2": 64,
}  # fmt: skip
_SEGMENTERS = {
    "deeplabv3_mobilenet_v3_large": 64, "fcn_resnet50": 64, "lraspp_mobilenet_v3_large": 64,
}  # fmt: skip
_DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": 128, "fcos_resnet50_fpn": 128,
    "keypointrcnn_resnet50_fpn": 128, "maskrcnn_resnet50_fpn": 128,
    "retinanet_resnet50_fpn": 128, "ssd300_vgg16": 128, "ssdlite320_mobilenet_v3_large": 128,
}  # fmt: skip
_VIDEOS = {
    "mc3_18": (8, 32), "mvit_v2_s": (16, 224), "r2plus1d_18": (8, 32), "r3d_18": (8, 32),
    "s3d": (16, 224), "swin3d_t": (8, 64),
}  # fmt: skip

_TIMM = {
    "bat_resnext26ts": 256, "beit_base_patch16_224": {"depth": 2}, "botnet26t_256": 256,
    "cait_xxs24_224": {"depth": 2}, "caformer_s18": 64, "coat_lite_tiny": 224,
    "coatnet_nano_rw_224": 224, "convit_tiny": {"depth": 2}, "convmixer_768_32": 64,
    "convnext_atto": 64, "cpubone_nano": 64, "crossvit_tiny_240": 240,
    "cs3darknet_focus_s": 64, "csatv2": 128, "cspnext_tiny": 64, "davit_tiny": 64,
    "deit3_small_patch16_224": {"depth": 2}, "deit_tiny_distilled_patch16_224": {"depth": 2},
    "densenet121": 64, "dla46_c": 64, "dpn48b": 64, "eca_resnet33ts": 64, "edgenext_xx_small": 64,
    "efficientformer_l1": 224, "efficientformerv2_s0": 224, "efficientnet_b0": 64,
    "efficientvim_m1": 64, "efficientvit_b0": 64, "efficientvit_m0": 224,
    "ese_vovnet19b_dw": 64, "eva02_tiny_patch14_224": {"depth": 2}, "fasternet_t0": 64,
    "fastvit_t8": 64, "fbnetv3_b": 64, "flexivit_small": {"depth": 2}, "focalnet_tiny_srf": 64,
    "gcvit_xxtiny": 224, "ghostnet_050": 64, "gmixer_12_224": 224, "gmlp_ti16_224": 224,
    "hardcorenas_a": 64, "hgnet_tiny": 64, "hiera_tiny_224": 224, "hieradet_small": 256,
    "hrnet_w18_small": 64, "inception_next_atto": 64, "inception_resnet_v2": 96,
    "inception_v4": 96, "lcnetv2_small": 64, "legacy_seresnet18": 64, "legacy_xception": 64,
    "levit_128s": 224, "lowformer_b0": 64, "mambaout_femto": 64, "maxvit_nano_rw_256": 256,
    "mixer_s32_224": 224, "mixnet_s": 64, "mobilenetv4_conv_small_035": 64,
    "mobilenetv4_hybrid_medium": 64, "mobileone_s0": 64, "mobilevit_xxs": 64,
    "mobilevitv2_050": 64, "mvitv2_tiny": 224,     "nest_tiny": 224, "nextvit_small": 64,
        "nf_regnet_b0": 64, "pit_xs_224": 224, "poolformer_s12": 64,
    "pvt_v2_b0": 64, "rdnet_tiny": 64, "regnetx_002": 64, "repghostnet_050": 64, "repvgg_a0": 64,
    "repvit_m0_9": 64, "res2net50_14w_8s": 64, "resmlp_12_224": 224, "resnest14d": 64,
    "resnetv2_18": 64, "rexnet_100": 64, "samvit_base_patch16_224": {"depth": 2}, "selecsls42": 64,
    "sequencer2d_s": 224, "shvit_s1": 64, "skresnet18": 64, "starnet_s050": 64,
    "swiftformer_xs": 64, "swin_tiny_patch4_window7_224": 224, "swinv2_cr_tiny_224": 224,
    "swinv2_tiny_window8_256": 256, "test_nfnet": 64, "tinynet_e": 64, "tiny_vit_5m_224": 224,
    "tnt_s_patch16_224": {"depth": 2}, "tresnet_m": 64, "twins_svt_small": 224,
        "visformer_tiny": 224,
    "vit_relpos_small_patch16_224": {"depth": 2}, "vit_small_r26_s32_224": {"depth": 2},
    "vit_tiny_patch16_224": {"depth": 2}, "vitamin_small_224": 224, "volo_d1_224": 224,
    "xception41": 64, "xcit_nano_12_p16_224": {"depth": 2},
}  # fmt: skip


def torchvision_networks() -> dict[str, Make]:
    """By name; empty where torchvision is not installed."""
    try:
        from torchvision import models
    except ImportError:
        return {}
    found: dict[str, Make] = {}
    for table in (_CLASSIFIERS, _SEGMENTERS):
        for name, size in table.items():
            found[name] = functools.partial(_torchvision, models, name, (1, 3, size, size))
    for name, (frames, size) in _VIDEOS.items():
        found[name] = functools.partial(_torchvision, models, name, (1, 3, frames, size, size))
    for name, size in _DETECTORS.items():
        found[name] = functools.partial(_detector, models, name, size)
    found["raft_small"] = functools.partial(_flow, models)
    return found


def _torchvision(models: Any, name: str, shape: tuple[int, ...]) -> Any:
    options: dict[str, Any] = {"weights": None}
    if name in _SEGMENTERS:
        options |= {"weights_backbone": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": True}
    return models.get_model(name, **options), (torch.randn(shape),), {}


def _detector(models: Any, name: str, size: int) -> Any:
    sizes = {} if name.startswith("ssd") else {"min_size": size, "max_size": size}
    module = models.get_model(name, weights=None, weights_backbone=None, **sizes)
    return module, ([torch.rand(3, size, size)],), {}


def _flow(models: Any) -> Any:
    module = models.get_model("raft_small", weights=None)
    first, second = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)
    return module, (first, second), {"num_flow_updates": 2}


def timm_networks() -> dict[str, Make]:
    """By name; empty where timm is not installed."""
    try:
        import timm
    except ImportError:
        return {}
    return {
        name: functools.partial(_timm, timm, name, options)
        for name, options in _TIMM.items()
        if options is not None and timm.is_model(name)
    }


def _timm(timm: Any, name: str, options: Any) -> Any:
    """`options` is the image's size, or what makes the network shallow at its own size."""
    module = timm.create_model(name, **(options if isinstance(options, dict) else {}))
    size = options if isinstance(options, int) else module.default_cfg["input_size"][-1]
    return module, (torch.randn(1, 3, size, size),), {}
