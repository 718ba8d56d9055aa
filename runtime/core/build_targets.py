# SPDX-License-Identifier: Apache-2.0
"""What build.py knows of targets: tables and nothing else."""

from __future__ import annotations

from typing import NamedTuple

ELF_LINK = (
    "-shared",
    "-Wl,--no-undefined",
    "-Wl,--gc-sections",
    "-Wl,--hash-style=gnu",
    "-Wl,-Bsymbolic",
    "-Wl,-soname,librillet.so",
)


class Target(NamedTuple):
    """One row of the target table: zig's target triple, its wheel's tag (None: none is made), the
    ISA overlays it carries, flags that choose its CPU, how the library is linked, its file's name.
    """

    triple: str
    wheel: str | None
    isas: tuple[str, ...]
    flags: tuple[str, ...] = ()
    link: tuple[str, ...] = ELF_LINK
    library: str = "librillet.so"

    @property
    def is_wasm(self) -> bool:
        """No operating system: no threads, no position-independent code."""
        return self.triple.startswith("wasm")

    @property
    def is_android(self) -> bool:
        return self.triple.endswith("android")


# A module without imports that exports its memory; what lies from __heap_base on is the caller's.
WASM_LINK = (
    "-nostdlib",
    "-rtlib=compiler-rt",
    "-Wl,--no-entry",
    "-Wl,--gc-sections",
    "-Wl,--export-dynamic",
    "-Wl,--export=__heap_base",
    "-Wl,-z,stack-size=131072",
)

# Android 15 loads pages of 16 KB.
ANDROID_LINK = (
    *ELF_LINK,
    "-nostdlib",
    "-rtlib=compiler-rt",
    "-Wl,-z,max-page-size=16384",
    "-Wl,--hash-style=both",
)
MACOS_LINK = ("-shared", "-Wl,-dead_strip", "-Wl,-install_name,@rpath/librillet.dylib")

TARGETS = {
    "x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", ("avx2", "avx512")),
    "aarch64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ("neon",)),
    "armv7": Target(  # Raspberry Pi 2 and newer with a 32-bit system
        "arm-linux-gnueabihf.2.31", "manylinux_2_31_armv7l", ("armv7",), ("-mcpu=cortex_a7",)
    ),
    "armv6": Target(  # Raspberry Pi Zero and 1
        "arm-linux-gnueabihf.2.28",
        "linux_armv6l",
        (),
        ("-mcpu=arm1176jzf_s", "-Wno-pass-failed"),  # it has no vectors
    ),
    "wasm32": Target(
        "wasm32-freestanding",
        None,
        ("wasm",),
        ("-mcpu=generic+simd128",),
        link=WASM_LINK,
        library="rillet.wasm",
    ),
    "android-arm64": Target("aarch64-linux-android", None, ("neon",), link=ANDROID_LINK),
    "macos-arm64": Target(
        "aarch64-macos.11.0", None, ("neon",), link=MACOS_LINK, library="librillet.dylib"
    ),
    "windows-x64": Target(
        "x86_64-windows-gnu",
        None,
        ("avx2", "avx512"),
        ("-DRLT_API=__declspec(dllexport)",),
        link=("-shared", "-Wl,--gc-sections"),
        library="rillet.dll",
    ),
}
# What people call them.
BOARDS = {
    "pi-arm64": "aarch64",
    "pi-armv7": "armv7",
    "pi-zero": "armv6",
    "linux-x64": "x86_64",
}
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv6l": "armv6"}

# A file of simd/ whose name has one of these words is an overlay: built only for targets that list
# it.
ISA_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        "-mavx2",
        "-mfma",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512vnni",
    ],
    "neon": [],
    "armv7": [],
    "wasm": [],
}

# What most image networks run.
COMMON_KERNELS = {
    "binary", "binary_quantized", "common", "concat", "conv_2d", "depthwise_conv_2d",
    "depthwise_fixed", "fully_connected", "matrix", "matrix_checks", "matrix_run", "move", "pad",
    "pool", "quantize", "quantize_math", "reshape", "resize", "softmax", "transpose", "unary",
    "window",
}  # fmt: skip

# These have inner loops of their own; the other kernels and the core are compiled to be small.
FAST_KERNELS = {
    "batch_matmul", "conv_2d", "depthwise_conv_2d", "depthwise_fixed", "fixed_output",
    "fully_connected", "gru", "lstm_float", "lstm_integer", "lstm_layer", "lstm_ops", "matrix_run",
    "move", "pad", "pool", "quantize", "quantize_math", "recurrent_layer", "resize", "rnn_cell",
    "softmax", "svdf", "transpose", "transpose_conv", "window",
}  # fmt: skip

# Where the time goes; these stay fast in builds for a few models, which are to be small.
FASTEST_KERNELS = {"conv_2d", "depthwise_conv_2d", "matrix_run", "pool"}

# What the platform layer asks of Android's C library: all there since API 21, under one version.
BIONIC = [
    "__sched_cpucount", "calloc", "clock_gettime", "free", "getauxval", "getpid",
    "pthread_cond_broadcast", "pthread_cond_destroy", "pthread_cond_init", "pthread_cond_signal",
    "pthread_cond_wait", "pthread_create", "pthread_join", "pthread_mutex_destroy",
    "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_sigmask",
    "sched_getaffinity", "sigfillset", "sysconf",
]  # fmt: skip
