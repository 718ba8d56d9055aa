# SPDX-License-Identifier: Apache-2.0
"""The same mutants on LiteRT and here, each engine in processes of its own: which of them end it?

    PYTHONPATH=.:tests:tests/runtime python -m fuzz.beside_litert [--mutants 3000] [--first 0]

Mutants are simple: one to four bytes, or aligned words from elsewhere, of the op-sized models. An
engine opens one, allocates, sets inputs of zeros, invokes and reads the outputs. What it refuses is
fine; what kills its process, or takes more than 20 seconds, is counted. Both may take 8 GB of
addresses.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
from fuzz.run import seeds

SECONDS_PER_CASE = 20


def mutant(number: int) -> bytes:
    """One to four edits of a model; the number decides all."""
    models = seeds()["ops"]
    rng = random.Random(number)
    original = models[number % len(models)].read_bytes()
    data = bytearray(original)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) - 4)
        if rng.random() < 0.5:
            data[at] = rng.randrange(256)
        else:
            source = rng.randrange(len(data) - 4) // 4 * 4
            data[at // 4 * 4 : at // 4 * 4 + 4] = original[source : source + 4]
    return bytes(data)


def answer(engine: str, content: bytes) -> str:
    """What became of a mutant: "runs" or the exception's name."""
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter
    else:
        from runtime import Interpreter
    try:
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            if detail["dtype"] not in (None, np.bytes_):
                interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            interpreter.get_tensor(detail["index"])
    except Exception as error:  # whatever it is, the process lives
        return type(error).__name__
    return "runs"


def work(engine: str, first: int, last: int) -> None:
    """Answers mutants [first, last), one JSON line each; may die on any of them."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    for number in range(first, last):
        signal.alarm(SECONDS_PER_CASE)
        print(json.dumps([number, answer(engine, mutant(number))]), flush=True)


def ask(engine: str, first: int, last: int) -> tuple[Counter[str], list[tuple[int, int]]]:
    """(answers, [(mutant, exit status of the process it ended)])."""
    answers: Counter[str] = Counter()
    deaths = []
    while first < last:
        command = [sys.executable, "-m", "fuzz.beside_litert", "--worker", engine]
        done = subprocess.run(
            [*command, "--first", str(first), "--mutants", str(last - first)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"[")]
        answers.update(found for _, found in lines)
        first += len(lines)
        if first < last:
            deaths.append((first, done.returncode))
            first += 1
    return answers, deaths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--worker", choices=["litert", "rillet"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    last = args.first + args.mutants
    if args.worker:
        work(args.worker, args.first, last)
        return
    for engine in ("rillet", "litert"):
        answers, deaths = ask(engine, args.first, last)
        kinds = Counter(
            signal.Signals(-status).name if status < 0 else f"exit {status}" for _, status in deaths
        )
        print(f"{engine}: {dict(answers)}; ended by {len(deaths)}: {dict(kinds)}", flush=True)
        print(f"  {[number for number, _ in deaths]}")


if __name__ == "__main__":
    main()
