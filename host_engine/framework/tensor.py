# SPDX-License-Identifier: Apache-2.0
"""Operation and Tensor: the nodes and edges of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from host_engine.framework.dtypes import DType
from host_engine.framework.operators import Operators
from host_engine.framework.registry import OpDef
from host_engine.framework.shape import TensorShape, as_shape

if TYPE_CHECKING:
    from host_engine.framework.graph import Graph

Frame = tuple[str, int, str]


class Operation:
    """A node: `type`, `name`, `inputs`, `control_inputs`, `outputs`, `device` and attributes.

    Nodes are made by `Graph.create_op`; `traceback` holds the user's frames, innermost first.
    """

    def __init__(
        self,
        graph: Graph,
        definition: OpDef,
        name: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any],
        control_inputs: Sequence[Operation],
        device: str,
        traceback: tuple[Frame, ...],
    ) -> None:
        self.graph = graph
        self.definition = definition
        self.name = name
        self.inputs = list(inputs)
        self.control_inputs = list(control_inputs)
        self.device = device
        self.traceback = traceback
        self.outputs: list[Tensor] = []
        self._attrs = attrs
        self._id = 0
        self._imported = False  # from a GraphDef, so that its attributes are complete

    @property
    def type(self) -> str:
        return self.definition.name

    @property
    def node_def(self) -> Operation:
        return self

    def get_attr(self, name: str) -> Any:
        """The attribute `name`; "T" is the type of the first input (or output).

        Raises ValueError if the operation has no such attribute.
        """
        if name in self._attrs:
            return self._attrs[name]
        if name == "T" and (self.inputs or self.outputs):
            return (self.inputs or self.outputs)[0].dtype
        raise ValueError(f"Operation '{self.name}' has no attr named '{name}'.")

    def values(self) -> tuple[Tensor, ...]:
        return tuple(self.outputs)

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs this operation in `session` or the default session."""
        self.graph.session_for(session, "operation", "run").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"

    def __str__(self) -> str:
        lines = [f'name: "{self.name}"', f'op: "{self.type}"']
        lines += [f'input: "{t.name.removesuffix(":0")}"' for t in self.inputs]
        lines += [f'input: "^{op.name}"' for op in self.control_inputs]
        if self.device:
            lines.append(f'device: "{self.device}"')
        return "\n".join(lines) + "\n"


class Tensor(Operators):
    """An output of an operation. Compared and hashed by identity, so it can key a feed_dict.

    Its operators (+ - * / // % ** @ comparisons, indexing) build operations; see Operators.
    """

    def __init__(self, op: Operation, value_index: int, dtype: DType, shape: TensorShape) -> None:
        self.op = op
        self.value_index = value_index
        self.dtype = dtype
        self._shape = shape

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.value_index}"

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        return self._shape

    def get_shape(self) -> TensorShape:
        return self._shape

    def set_shape(self, shape: Any) -> None:
        """Merges what `shape` knows into the static shape; ValueError where they contradict."""
        self._shape = self._shape.merge_with(as_shape(shape))

    def consumers(self) -> list[Operation]:
        return [op for op in self.graph.get_operations() if any(t is self for t in op.inputs)]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """This tensor's value, computed in `session` or the default session."""
        return self.graph.session_for(session, "tensor", "eval").run(self, feed_dict)

    def __bool__(self) -> bool:
        raise TypeError(
            "Using a `tf.Tensor` as a Python `bool` is not allowed. Use `if t is not None:` "
            "instead of `if t:` to test if a tensor is defined, and use TensorFlow ops such as "
            "tf.cond to execute subgraphs conditioned on the value of a tensor."
        )

    __nonzero__ = __bool__

    def __len__(self) -> int:
        raise TypeError(
            f"len is not well defined for symbolic Tensors. ({self.name}) "
            "Please call `x.shape` rather than `len(x)` for shape information."
        )

    def __iter__(self) -> Any:
        raise TypeError(
            "Tensor objects are only iterable when eager execution is enabled. "
            "To iterate over this tensor use tf.map_fn or tf.unstack."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"Cannot convert a symbolic Tensor ({self.name}) to a numpy array. "
            "Use Session.run or eval to compute its value."
        )

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self._shape} dtype={self.dtype.name}>"

    def __str__(self) -> str:
        shape = "" if self._shape.sizes is None else f", shape={self._shape}"
        device = f", device={self.device}" if self.device else ""
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name}{device})'
