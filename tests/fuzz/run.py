# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the runtime for a bounded time: ``make fuzz``, or in the root of the repository

    PYTHONPATH=.:tests python -m fuzz.run [--seconds 300] [--count N] [--first N]
        [--only ops|models] [--match REGEX]

Half of the time goes to mutants of the op-sized models beside this file, half to those of public
models where there are some (see tests/zoo.py). Everything runs under ASan and UBSan where gcc
exists. Mutants are numbered: --first goes on where an earlier run ended. Exit code 1: findings,
saved under build/fuzz/findings.
--match takes only the seeds in whose names the expression is found.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from zoo import ROOT, zoo_files

from runtime.core.build import build

HERE = Path(__file__).parent
WORK = ROOT / "build" / "fuzz"
NEVER_ENDING = 2**62
# Small or medium, and quick enough: float, int8, recurrent, with custom operators.
MODELS = [
    "kws_ref_model",
    "kws_ref_model_float32",
    "keras_lstm_mnist_ptq",
    "ad01_int8",
    "pretrainedResnet_quant",
    "str_ww_ref_model",
    "vww_96_int8",
    "mobilenet_v1_0.25_128_quant",
    "nmp",
    "hand_recrop",
]


def seeds() -> dict[str, list[Path]]:
    """What there is to mutate: "ops" and, where there are public models, "models"."""
    found = {"ops": sorted((HERE / "corpus").glob("*.tflite"))}
    files = {path.stem: path for path in zoo_files("models/tflite/*.tflite")}
    models = [files[name] for name in MODELS if name in files]
    return {**found, "models": models} if models else found


def compile_loop() -> Path:
    """The compiled loop.c, with sanitizers where gcc exists."""
    sanitize = shutil.which("gcc") is not None
    if not sanitize:
        print("no gcc: without sanitizers only crashes and hangs are seen", flush=True)
    return build(None, WORK / "loop", sanitize=sanitize, program=HERE / "loop.c")


def fuzz(loop: Path, models: list[Path], seconds: float, count: int, first: int) -> bool:
    """Runs mutants of `models`; True if nothing was found."""
    findings = WORK / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    numbers = [str(number) for number in (count, seconds, first)]
    return subprocess.run([loop, "fuzz", *numbers, findings, *models]).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="of the whole run")
    parser.add_argument("--count", type=int, default=NEVER_ENDING, help="mutants of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--only", choices=["ops", "models"])
    parser.add_argument("--match", default="", help="regular expression, of seeds' names")
    args = parser.parse_args()
    kinds = {kind: s for kind, s in seeds().items() if args.only in (None, kind)}
    kinds = {kind: [f for f in s if re.search(args.match, f.stem)] for kind, s in kinds.items()}
    kinds = {kind: s for kind, s in kinds.items() if s}
    if not kinds:
        parser.error(f"--match {args.match} finds no seed")
    loop, clean = compile_loop(), True
    for kind, models in kinds.items():
        print(f"== {kind}: {len(models)} models, {args.seconds / len(kinds):.0f} s", flush=True)
        clean &= fuzz(loop, models, args.seconds / len(kinds), args.count, args.first)
    if not clean:
        print(f"findings under {WORK / 'findings'}; run one again with: {loop} run FILE")
    return not clean


if __name__ == "__main__":
    sys.exit(main())
