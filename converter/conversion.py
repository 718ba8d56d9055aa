# SPDX-License-Identifier: Apache-2.0
"""The whole way from a source to a file, with the proof that both compute the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, InputsError, ProofError
from converter.example_feeds import candidate_feeds
from converter.importers.host import from_session
from converter.metadata import describe
from converter.passes import optimize, outline_composites
from converter.proof import TOLERANCE, Proof, find_departure, prove
from converter.sources import Source
from converter.writer import write_atomically, write_tflite


@dataclass
class Conversion:
    """What :func:`convert` made: the model, its file's bytes, and the proof (None: not asked for).

    `nodes_imported` counts the nodes before any pass.
    """

    model: ir.Model
    content: bytes
    proof: Proof | None
    nodes_imported: int


def convert(
    source: Source,
    path: str | os.PathLike[str] | None = None,
    *,
    passes: bool = True,
    composites: bool = False,
    check: str = "outputs",
    feeds: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    force: bool = False,
    verbose: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Conversion:
    """Import, optimize, serialize and prove; written to `path` only when the proof has passed.

    `composites`: norms and attention become composites over the operators they are made of, which
    this runtime runs by kernels of their own.

    `check` is "outputs" (run both and compare every output), "layers" (find the first value that
    departs, too) or "none". `feeds` are the inputs to compare on, by name; without them random ones
    are made. `force` writes in spite of a proof that failed. `metadata` are the keywords of
    :func:`converter.describe`: labels, normalization.

    Raises ConversionError where something has no form, cannot be run, or where the proof fails,
    with the largest error of every output and the first layer that departs.
    """
    model = source.convert()
    plain, imported = model.copy(), len(model.main.nodes)
    if passes:
        optimize(model, verbose=verbose)
    if composites:
        optimize(model, verbose=verbose, passes=(outline_composites,))
    if metadata:
        describe(model, **metadata)
    content = write_tflite(model, offline_plan=path is not None)
    proof: Proof | None = None
    if check != "none":
        given = [dict(feeds)] if feeds is not None else candidate_feeds(model, source)
        try:
            proof = _first_proof(source, content, given, tolerance)
        except ProofError:
            if not force:
                raise
        if proof is not None and (check == "layers" or not proof.passed):
            find_departure(proof, source, plain)
        if proof is not None and not proof.passed and not force:
            raise ConversionError(
                f"the converted model does not compute what its source does, so nothing is"
                f" written; {proof}"
            )
    if path is not None:
        write_atomically(path, content)
    return Conversion(model, content, proof, imported)


def _settled(source: Source, proof: Proof, content: bytes) -> Proof:
    """`proof`, or that by another engine which agrees: some round small numbers coarsely."""
    if proof.passed:
        return proof
    for other in source.other_engines():
        with contextlib.suppress(ConversionError):
            second = prove(other, content, proof.feeds, proof.tolerance)
            if second.passed:
                return second
    return proof


def _first_proof(
    source: Source, content: bytes, candidates: Iterable[Mapping[str, np.ndarray]], tolerance: float
) -> Proof:
    """On the first inputs that the source takes; where it takes none, the error for the first."""
    refused: InputsError | None = None
    for feeds in candidates:
        try:
            return _settled(source, prove(source, content, feeds, tolerance), content)
        except InputsError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def convert_session(
    sess: Any,
    inputs: Iterable[Any],
    outputs: Iterable[Any],
    path: str | os.PathLike | None = None,
    **kwargs: Any,
) -> bytes:
    """Freeze, import, optimize and serialize; the bytes are also written to `path` if given.

    `kwargs` are those of :func:`converter.from_session`. Raises ConversionError; nothing is written
    unless everything succeeded.
    """
    model = from_session(sess, inputs, outputs, **kwargs)
    optimize(model)
    return write_tflite(model, path, offline_plan=True)
