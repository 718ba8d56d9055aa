# SPDX-License-Identifier: Apache-2.0
"""The arguments of every command. Imports nothing of weight, so that --help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rillet.argument_types import divisors, not_negative, numbers, positive, tolerance
from rillet.errors import EXIT_CODES


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of one command. SystemExit, with a sentence said, where they are wrong."""
    main = parser()
    args, rest = main.parse_known_args(argv)
    files = args.command == "run" and not any(text.startswith("-") for text in rest)
    if files:  # those behind an option, which argparse leaves over
        args.files += rest
    elif rest:
        main.error(f"unrecognized arguments: {' '.join(rest)}")
    if args.command == "run" and bool(args.files) == args.random:
        main.error("run wants either a file for each input of the model, or --random")
    return args


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="rillet",
        description="From a trained model to the device: convert, quantize, run, measure, look.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_convert, _check, _quantize, _run, _bench, _inspect, _build):
        add(commands)
    return top


def _command(
    commands: argparse._SubParsersAction, name: str, summary: str, details: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"{details}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


def _convert(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "convert",
        "import a model, optimize it, prove it and write it as .tflite",
        """SOURCE is one of
  model.onnx          opset 7 and newer
  model.pb            a frozen graph of TensorFlow (.pbtxt too)
  model.ckpt.meta     a checkpoint of TensorFlow 1 or host_engine, with --outputs
  folder              a SavedModel of TensorFlow
  model.keras         a Keras model (.h5 too), with the package tensorflow
  model.pt2           a program that torch.export.save wrote
  model.tflite        read, optimized and written back
  script.py:function  the function returns (module, example_inputs) of PyTorch, or
                      (session, inputs, outputs) of host_engine:

      # net.py
      import host_engine as tf
      def trained():
          x = tf.placeholder(tf.float32, [None, 4], name="x")
          w = tf.Variable(tf.ones([4, 2]), name="w")
          y = tf.nn.softmax(tf.matmul(x, w))
          sess = tf.Session()
          sess.run(tf.global_variables_initializer())   # or tf.train.Saver().restore(sess, path)
          return sess, [x], [y]

It ends with the proof: both run on the same inputs, and every output's largest error is printed.
Nothing is written unless the proof passes.

examples:
  rillet convert net.onnx -o net.tflite
  rillet convert net.onnx -o net.tflite --input image=1,3,224,224 --check layers
  rillet convert frozen.pb -o net.tflite --outputs scores --input image=1,224,224,3
  rillet convert model.ckpt.meta -o net.tflite --outputs scores --constant keep_prob=1.0
  rillet convert net.py:trained -o net.tflite
  rillet convert big.tflite -o optimized.tflite --verbose""",
    )
    _add_source(command)
    _add_output(command)
    _add_proof(command)
    _add_photos(command)
    command.add_argument(
        "--nhwc-io",
        action="store_true",
        help="inputs and outputs of an ONNX model that have four axes become channels last",
    )
    command.add_argument(
        "--composites",
        action="store_true",
        help="keep norms and attention whole, for kernels of this runtime: 1 to 13%% faster here,"
        " in less memory; up to 2%% slower in LiteRT, and unreadable there before 2.17",
    )
    command.add_argument(
        "--no-optimize", action="store_true", help="write the graph as it is, without any pass"
    )
    command.add_argument("--verbose", action="store_true", help="name every rewrite as it happens")


def _add_proof(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check",
        choices=["outputs", "layers", "none"],
        default="outputs",
        help="what to compare with the source: every output (default), every layer, or nothing",
    )
    command.add_argument(
        "--check-input",
        action="append",
        metavar="NAME=FILE",
        help="an .npy to compare on, for each input (random values)",
    )
    command.add_argument(
        "--tolerance",
        type=tolerance,
        default=1e-4,
        metavar="T",
        help="the error that passes, as a share of an output's largest magnitude (1e-4)",
    )
    command.add_argument(
        "--force", action="store_true", help="write the file though the proof has failed"
    )


def _add_photos(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--labels", metavar="FILE", help="one class per line; they travel in the model"
    )
    command.add_argument(
        "--mean", type=numbers, metavar="M[,M,M]", help="of photos; it travels in the model"
    )
    command.add_argument(
        "--std", type=divisors, metavar="S[,S,S]", help="the model wants (pixel - mean) / std"
    )
    command.add_argument("--gray", action="store_true", help="photos are grayscale")


def _check(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "check",
        "list everything that keeps a model from being converted",
        """Nothing is written. Every obstacle is listed, each with the layer's name, its shapes, why
it has no form on the device, and what to do.

examples:
  rillet check net.onnx
  rillet check net.onnx --input image=1,3,224,224""",
    )
    _add_source(command)


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="an .onnx, .pb, .pt2, .keras or .tflite file, a checkpoint's .meta, a SavedModel's"
        " folder, or script.py:function",
    )
    command.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=SIZES",
        help="the shape of an imported model's input, such as image=1,3,224,224; ? stays dynamic",
    )
    command.add_argument(
        "--outputs",
        metavar="A,B",
        help="the outputs of a frozen .pb file (what nothing reads) or of a checkpoint",
    )
    command.add_argument(
        "--signature", metavar="NAME", help="which of a SavedModel's signatures (serving_default)"
    )
    command.add_argument(
        "--constant",
        action="append",
        default=[],
        metavar="NAME=NUMBERS",
        help="a value for good of an ONNX model's input or a checkpoint's placeholder, such as"
        " axes=1 or keep_prob=1.0 (one number, or several)",
    )


def _quantize(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "quantize",
        "make a float model smaller and faster",
        """examples:
  rillet quantize net.tflite -o net_f16.tflite --recipe float16
  rillet quantize net.tflite -o net_int8.tflite --recipe static-int8 --calibrate photos/
  rillet quantize net.tflite -o net_int8.tflite --recipe-file recipe.json --calibrate x.npz

A recipe file is JSON such as
  {"kind": "static_int8", "method": "percentile", "overrides": {"SOFTMAX": "float"}}""",
    )
    command.add_argument("model", metavar="MODEL", help="a float .tflite file")
    _add_output(command)
    kinds = ["float16", "dynamic-int8", "static-int8"]
    recipe = command.add_mutually_exclusive_group(required=True)
    recipe.add_argument("--recipe", choices=kinds, help="what to make of the model")
    recipe.add_argument("--recipe-file", metavar="JSON", help="a recipe with all its settings")
    command.add_argument(
        "--calibrate",
        metavar="DATA",
        help="a folder of photos; an .npz with an array per input name, or an .npy for one input, "
        "samples along the first axis. static-int8 needs it, the others report with it",
    )
    _add_pixels(command)
    command.add_argument("--limit", type=positive, metavar="N", help="use the first N samples")
    command.add_argument(
        "--method", choices=["minmax", "percentile"], help="how ranges are found (minmax)"
    )
    command.add_argument(
        "--percentile", type=float, metavar="P", help="share kept by that method (99.99)"
    )
    command.add_argument(
        "--io", choices=["int8", "float32"], help="model inputs and outputs (int8)"
    )
    command.add_argument(
        "--report",
        type=not_negative,
        default=16,
        metavar="N",
        help="compare with the float model on N samples (16; 0: no report)",
    )


def _run(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "run",
        "run a model once and show its outputs",
        """examples:
  rillet run net.tflite --random
  rillet run net.tflite photo.jpg
  rillet run net.tflite photo.jpg --labels labels.txt --top 3
  rillet run net.tflite x=x.npy y=y.npy --output out.npz""",
    )
    command.add_argument("model", metavar="MODEL", help="a .tflite file")
    command.add_argument(
        "files",
        nargs="*",
        metavar="[NAME=]FILE",
        help="for each input an .npy array or a photo; NAME may be left out where there is one",
    )
    command.add_argument("--random", action="store_true", help="random values in every input")
    command.add_argument("--seed", type=not_negative, default=0, help="of --random (0)")
    _add_pixels(command)
    command.add_argument("--output", "-o", metavar="NPZ", help="save the outputs by name")
    command.add_argument("--labels", metavar="TXT", help="a label per line (the model's own)")
    command.add_argument(
        "--top", type=positive, metavar="K", help="show the K largest elements of each output"
    )
    command.add_argument("--threads", type=positive, metavar="N", help="threads (1)")


def _bench(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "bench",
        "measure how long a model takes",
        """examples:
  rillet bench net.tflite
  rillet bench net.tflite --threads 2 --per-op
  rillet bench net.tflite --compare litert""",
    )
    command.add_argument("model", metavar="MODEL", help="a .tflite file")
    command.add_argument("--threads", type=positive, default=1, metavar="N", help="threads (1)")
    command.add_argument("--runs", type=positive, default=50, metavar="N", help="measured (50)")
    command.add_argument(
        "--warmup", type=not_negative, default=5, metavar="N", help="run before measuring (5)"
    )
    _add_isa(command)
    command.add_argument("--per-op", action="store_true", help="time every node")
    command.add_argument(
        "--compare", choices=["litert"], help="alternate with LiteRT, and give the ratio"
    )


def _inspect(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "inspect",
        "show what a model consists of and what it needs",
        """examples:
  rillet inspect net.tflite
  rillet inspect net.tflite --isa avx2 --threads 4
  rillet inspect net.tflite --tensors --kernels
  rillet inspect net.tflite --html net.html --profile""",
    )
    command.add_argument("model", metavar="MODEL", help="a .tflite file")
    command.add_argument("--kernels", action="store_true", help="the loop chosen for every node")
    command.add_argument("--tensors", action="store_true", help="every tensor")
    command.add_argument(
        "--html", metavar="OUT", help="draw the graph with its costs: one page for any browser"
    )
    command.add_argument(
        "--profile", action="store_true", help="run it on random inputs; microseconds of every node"
    )
    command.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="of the sizes shown (1)"
    )
    _add_isa(command)


BUILD_TARGETS = [
    "pi-arm64",
    "pi-armv7",
    "pi-zero",
    "android-arm64",
    "linux-x64",
    "macos-arm64",
    "windows-x64",
    "wasm32",
]


def _build(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "build",
        "compile the runtime for a target",
        """examples:
  rillet build --target pi-arm64 --out lib
  rillet build --target pi-zero --ops net.tflite other.tflite
  rillet build --target pi-arm64 --wheel

It makes a shared library, a static one and a copy of rillet.h. The compiler is the Python package
ziglang, which builds for all targets: pip install 'rillet[build]'.""",
    )
    command.add_argument(
        "--target", required=True, choices=BUILD_TARGETS, help="the kind of machine to build for"
    )
    command.add_argument(
        "--ops",
        nargs="+",
        metavar="MODEL",
        help="leave out what these models do not need; others are refused when opened",
    )
    command.add_argument("--out", metavar="DIR", help="where the files go (rillet-TARGET)")
    command.add_argument(
        "--wheel",
        action="store_true",
        help="make the wheel of rillet-runtime instead (in a checkout)",
    )


def _add_isa(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--isa", metavar="NAME", help="use no more than this instruction set, such as scalar, avx2"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="the .tflite file to write"
    )


def _add_pixels(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mean",
        type=numbers,
        metavar="M[,M,M]",
        help="photos: subtracted from pixels of 0..255 (what the model says, else 127)",
    )
    command.add_argument(
        "--std",
        type=divisors,
        metavar="S[,S,S]",
        help="photos: divided by (what the model says, else 128)",
    )
