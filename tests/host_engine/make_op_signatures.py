# SPDX-License-Identifier: Apache-2.0
"""Writes host_engine/graphdef/signatures.txt from TensorFlow's own registry of ops.

Run with a Python that has TensorFlow: ``python tests/host_engine/make_op_signatures.py``. One line
per op: ``Name inputs -> outputs | attribute:type=default ...``; ``N*T`` is N tensors of type T, and
``[Tin]`` a list of types.
"""

from __future__ import annotations

import re
from pathlib import Path

LEFT_OUT = re.compile(
    r"Dataset|Iterator|TPU|Tpu|Xla|XLA|Collective|Nccl|Summary|Queue|Reader|Barrier|Stage|Risc|Uniform"
    r"(?!$|Int$|Candidate)|Sdca|Boosted|Tree|Accumulator|Quantile|Debug|Mlir|MLCL|Sharding|Shape(ard)"
    r"|_|^Data|Checkpoint|Device|Batch(Cholesky|Fft|IFFT|FFT|Matrix|Self|Svd)|Resource(Sparse|Apply)"
    r"|^Apply|Ragged|Skipgram|Audio|Mfcc|Spectrogram|Decode|Encode|Experimental|Tensor(Forest|Scatter)"
    r"|Mutable|Lookup|HashTable|Cudnn|Block(LSTM|GRU)Grad|Sparse|Eager|Py|Host|Print|Assert(?!$)"
    r"|Distributed|Incremental|Configure|Save|Restore|Merge(V2)|Bincount|Fingerprint|Load|Retrieve"
    r"|Stateless(Random|Sample|Trunc|Multi|Param|Shuf)|Rpc|Thread|Scatter(Div|Max|Min|Mul|Sub|Update|Add)"
    r"|Send|Recv|Temporary|Delete|Session|Unbatch|^Batch$|BatchFunction|Candidate|String|Strings|Image"
    r"|AnonymousM|ConsumeMutex|Mutex|Grad(?!ient$)|Backprop(?!Input$|Filter$)|Bessel|Linalg|Quantized"
    r"|Igamma|Polygamma|Zeta|Tridiagonal|Banded|ISTFT|FFT|Fft|Write|Initialize|Stochastic"
    r"|^(Anonymous|CTC|Dedup|Draw|Infeed|KMC2|Kmeans|Map|Next|Optional|OrderedMap|Outfeed|Parse|Rng"
    r"|Sobol|Stack[CPV]|Stats|Stateful[SRTU]|TensorMap|Tensor(ArrayV2|Array[A-Z]\w*[a-z](V2)?$)|Worker)"
    r"|Dedup|Vocab|Minibatch|Composite|Replica|Deadline|Event|Ops$"
)
KEPT = re.compile(
    r"^(BatchMatMul.*|BatchToSpace.*|SparseSoftmaxCrossEntropyWithLogits|TensorScatter(Add|Update)"
    r"|ScatterNd|Unique.*|ApplyGradientDescent|ApplyAdam|ApplyMomentum|ApplyAdagrad|ApplyRMSProp"
    r"|TensorArray.*V3|TensorList.*|SaveV2|RestoreV2|MergeSummary|QuantizeAndDequantizeV[234]"
    r"|FakeQuant.*(Args|Vars|Channel)|ResizeNearestNeighbor|ResizeBilinear|ResizeBicubic|ResizeArea"
    r"|(Avg|Max)PoolGrad|MaxPoolGradGrad|BiasAddGrad|ReluGrad|Relu6Grad|EluGrad|LeakyReluGrad"
    r"|FusedBatchNormGrad(V[23])?|StridedSliceGrad|BroadcastGradientArgs|TanhGrad|SigmoidGrad"
    r"|PreventGradient|StopGradient|RandomUniform|RandomUniformInt|CropAndResize|HashTableV2"
    r"|LookupTable(Find|Size|Import)V2|ImageProjectiveTransformV[23]|InitializeTable.*V2"
    r"|DecodeJpeg|DecodePng|EncodeJpeg|SparseToDense|SparseTensorDenseMatMul|StringSplit|StringToHash.*"
    r"|FakeQuantWithMinMax(Args|Vars|VarsPerChannel)|StatelessIf|StatelessWhile|Assert)$"
)


def main() -> None:
    import tensorflow as tf
    from tensorflow.core.framework import op_def_pb2, types_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    ops = op_def_pb2.OpList()
    ops.ParseFromString(session.TF_GetBuffer(session.TF_GetAllOpList()))

    def kind(arg: object) -> str:
        base = arg.type_attr or types_pb2.DataType.Name(arg.type)[3:].lower()
        if arg.type_list_attr:
            base = f"[{arg.type_list_attr}]"
        many = f"{arg.number_attr}*" if arg.number_attr else ""
        return f"{arg.name}:{many}{base}{'&' if arg.is_ref else ''}"

    def default(attr: object) -> str:
        value = attr.default_value
        which = value.WhichOneof("value")
        if which in ("i", "f", "b"):
            return f"={getattr(value, which)}"
        if which == "s" and re.fullmatch(rb"[\w./-]*", value.s):
            return f"={value.s.decode()}"
        if which == "type":
            return f"={types_pb2.DataType.Name(value.type)[3:].lower()}"
        if which == "list" and not value.list.ByteSize():
            return "=[]"
        if which == "list" and value.list.i:
            return f"=[{','.join(map(str, value.list.i))}]"
        if which == "shape" and value.shape.unknown_rank:
            return "=?"
        return ""

    lines = []
    for op in sorted(ops.op, key=lambda op: op.name):
        # raw_ops has no ops of TensorFlow's own tests
        if not hasattr(tf.raw_ops, op.name) or (
            LEFT_OUT.search(op.name) and not KEPT.match(op.name)
        ):
            continue
        attrs = " ".join(f"{a.name}:{a.type.replace(' ', '')}{default(a)}" for a in op.attr)
        inputs, outputs = (" ".join(map(kind, args)) for args in (op.input_arg, op.output_arg))
        lines.append(f"{op.name} {inputs} -> {outputs} | {attrs}".replace("  ", " ").rstrip(" |"))
    target = Path(__file__).resolve().parents[2] / "host_engine" / "graphdef" / "signatures.txt"
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
