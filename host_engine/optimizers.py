# SPDX-License-Identifier: Apache-2.0
"""Optimizers: gradients and the operations that apply them to variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from host_engine.framework.build import build_op, convert_to_tensor, name_scope
from host_engine.framework.graph import GraphKeys, get_default_graph
from host_engine.framework.tensor import Operation, Tensor
from host_engine.gradients import gradients
from host_engine.ops import control, source, state
from host_engine.ops.select import cast
from host_engine.variables import Variable, trainable_variables

GradAndVar = tuple[Any, Variable]


class Optimizer:
    """Base of all optimizers.

    A subclass names its slots (variables kept beside each trained one), prepares its settings as
    tensors, and applies a gradient to one variable.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2
    SLOTS: tuple[str, ...] = ()

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._name = name
        self._slots: dict[str, dict[Operation, Variable]] = {}
        self._settings: dict[str, Tensor] = {}

    def get_name(self) -> str:
        return self._name

    def minimize(
        self,
        loss: Tensor,
        global_step: Variable | None = None,
        var_list: Sequence[Variable] | None = None,
        gate_gradients: int = 1,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that takes one step down the sum of `loss`.

        Changes `var_list` (default: all trainable variables) and adds 1 to `global_step` after.
        Raises ValueError if `loss` depends on none of them.
        """
        pairs = self.compute_gradients(loss, var_list, grad_loss=grad_loss)
        if all(grad is None for grad, _ in pairs):
            names = [str(var) for _, var in pairs]
            raise ValueError(
                "No gradients provided for any variable, check your graph for ops that do not "
                f"support gradients, between variables {names} and loss {loss}."
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Tensor,
        var_list: Sequence[Variable] | None = None,
        gate_gradients: int = 1,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[GradAndVar]:
        """(gradient or None, variable) for each variable."""
        chosen = trainable_variables() if var_list is None else _flat(var_list)
        if not chosen:
            raise ValueError("No variables to optimize.")
        for var in chosen:
            if not isinstance(var, Variable):
                raise TypeError(f"Argument is not a tf.Variable: {var}")
        seeds = None if grad_loss is None else [grad_loss]
        return list(zip(gradients(loss, chosen, seeds), chosen, strict=True))

    def apply_gradients(
        self,
        grads_and_vars: Any,
        global_step: Variable | None = None,
        name: str | None = None,
    ) -> Operation:
        """An operation that applies the gradients (those that are not None)."""
        pairs = list(grads_and_vars)
        used = [(convert_to_tensor(g), v) for g, v in pairs if g is not None]
        if not pairs:
            raise ValueError("No variables provided.")
        if not used:
            raise ValueError(
                f"No gradients provided for any variable: {[str(v) for _, v in pairs]}."
            )
        graph = used[0][1].graph
        with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
            self._create_slots([v for _, v in used])
        with graph.as_default(), name_scope(name, self._name) as scope:
            self._prepare()
            updates = []
            for grad, var in used:
                with graph.name_scope("update_" + var.op.name):
                    updates.append(self._apply(grad, var))
            if global_step is None:
                done = self._finish(updates, scope)
            else:
                with graph.control_dependencies([self._finish(updates, "update")]):
                    one = convert_to_tensor(1, global_step.dtype, name="value")
                    done = state.assign_add(global_step, one, name=scope).op
        graph.add_to_collection(GraphKeys.TRAIN_OP, done)
        return done

    # Slots

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot `name` of `var`, or None."""
        return self._slots.get(name, {}).get(var.op)

    def get_slot_names(self) -> list[str]:
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """The variables this optimizer made."""
        return [v for slots in self._slots.values() for v in slots.values()]

    def _create_slots(self, var_list: list[Variable]) -> None:
        for slot in self.SLOTS:
            for var in var_list:
                self._slot(var, slot, self._name)

    def _slot(self, var: Variable, slot: str, name: str, fill: float | None = None) -> Variable:
        slots = self._slots.setdefault(slot, {})
        if var.op not in slots:
            sizes = var.shape.as_list()

            def initial() -> Tensor:
                if fill is None:
                    return source.zeros(sizes, var.dtype)
                return source.fill(sizes, convert_to_tensor(fill, var.dtype))

            slots[var.op] = Variable(
                initial, trainable=False, name=f"{var.op.name}/{name}", dtype=var.dtype
            )
        return slots[var.op]

    # For subclasses

    def _prepare(self) -> None:
        """Turns settings into tensors, once per apply_gradients."""

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        raise NotImplementedError(f"{type(self).__name__}._apply")

    def _finish(self, updates: list[Operation], scope: str) -> Operation:
        return control.group(*updates, name=scope)

    def _tensor(self, name: str, value: Any) -> None:
        self._settings[name] = convert_to_tensor(value() if callable(value) else value, name=name)

    def _setting(self, name: str, var: Variable) -> Tensor:
        return cast(self._settings[name], var.dtype)


def _flat(var_list: Any) -> list[Variable]:
    items = var_list if isinstance(var_list, (list, tuple)) else [var_list]
    return [v for item in items for v in (_flat(item) if isinstance(item, list) else [item])]


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * grad."""

    def __init__(
        self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent"
    ) -> None:
        super().__init__(use_locking, name)
        self._rate = learning_rate

    def _prepare(self) -> None:
        self._tensor("learning_rate", self._rate)

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        inputs = [state.reference(var), self._setting("learning_rate", var), grad]
        return build_op("ApplyGradientDescent", inputs)


class MomentumOptimizer(Optimizer):
    """accum = momentum * accum + grad; var -= learning_rate * accum (Nesterov: looks ahead)."""

    SLOTS = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._momentum, self._nesterov = learning_rate, momentum, use_nesterov

    def _prepare(self) -> None:
        self._tensor("learning_rate", self._rate)
        self._tensor("momentum", self._momentum)

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        accum = self._slots["momentum"][var.op]
        inputs = [
            state.reference(var),
            state.reference(accum),
            self._setting("learning_rate", var),
            grad,
            self._setting("momentum", var),
        ]
        return build_op("ApplyMomentum", inputs, {"use_nesterov": self._nesterov})


class AdamOptimizer(Optimizer):
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015).

    Slots `m` and `v` beside each variable, and beta1_power and beta2_power, which are multiplied
    by beta1 and beta2 after each step.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon
        self._powers: dict[str, Variable] = {}

    def variables(self) -> list[Variable]:
        return [*self._powers.values(), *super().variables()]

    def _create_slots(self, var_list: list[Variable]) -> None:
        for name, beta in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            if name not in self._powers:
                value = beta() if callable(beta) else beta
                self._powers[name] = Variable(value, trainable=False, name=name)
        for var in var_list:
            self._slot(var, "m", self._name)
            self._slot(var, "v", self._name)

    def _prepare(self) -> None:
        self._tensor("learning_rate", self._rate)
        self._tensor("beta1", self._beta1)
        self._tensor("beta2", self._beta2)
        self._tensor("epsilon", self._epsilon)

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        refs = [var, self._slots["m"][var.op], self._slots["v"][var.op]]
        powers = [cast(self._powers[p], var.dtype) for p in ("beta1_power", "beta2_power")]
        names = ("learning_rate", "beta1", "beta2", "epsilon")
        settings = [self._setting(n, var) for n in names]
        inputs = [*[state.reference(r) for r in refs], *powers, *settings, grad]
        return build_op("ApplyAdam", inputs)

    def _finish(self, updates: list[Operation], scope: str) -> Operation:
        graph = get_default_graph()
        with graph.control_dependencies(updates):
            decays = []
            for power, beta in (("beta1_power", "beta1"), ("beta2_power", "beta2")):
                variable = self._powers[power]
                decays.append(variable.assign(variable * self._settings[beta]).op)
        return control.group(*updates, *decays, name=scope)


class AdagradOptimizer(Optimizer):
    """accum += grad^2; var -= learning_rate * grad / sqrt(accum). Duchi et al. (2011)."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        super().__init__(use_locking, name)
        if initial_accumulator_value <= 0.0:
            raise ValueError(
                f"initial_accumulator_value must be positive: {initial_accumulator_value}"
            )
        self._rate, self._initial = learning_rate, initial_accumulator_value

    def _create_slots(self, var_list: list[Variable]) -> None:
        for var in var_list:
            self._slot(var, "accumulator", self._name, self._initial)

    def _prepare(self) -> None:
        self._tensor("learning_rate", self._rate)

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        refs = [state.reference(var), state.reference(self._slots["accumulator"][var.op])]
        return build_op("ApplyAdagrad", [*refs, self._setting("learning_rate", var), grad])


class RMSPropOptimizer(Optimizer):
    """Divides the gradient by a running root mean square. Tieleman and Hinton (2012)."""

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        if centered:
            raise ValueError("RMSPropOptimizer: centered=True is not supported")
        self._rate, self._decay, self._momentum = learning_rate, decay, momentum
        self._epsilon = epsilon

    def _create_slots(self, var_list: list[Variable]) -> None:
        for var in var_list:
            self._slot(var, "rms", self._name, 1.0)
            self._slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._tensor("learning_rate", self._rate)
        self._tensor("decay", self._decay)
        self._tensor("momentum", self._momentum)
        self._tensor("epsilon", self._epsilon)

    def _apply(self, grad: Tensor, var: Variable) -> Operation:
        refs = [var, self._slots["rms"][var.op], self._slots["momentum"][var.op]]
        names = ("learning_rate", "decay", "momentum", "epsilon")
        settings = [self._setting(n, var) for n in names]
        return build_op("ApplyRMSProp", [*[state.reference(r) for r in refs], *settings, grad])
