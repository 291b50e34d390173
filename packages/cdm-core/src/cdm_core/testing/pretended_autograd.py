"""Gradients without autograd's engine, which asks a driver for each device: the nodes of the graph run one by one."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

Node = Any
Sums = dict[Node, dict[int, Tensor]]
"""Gradients of what each node has computed, by the number of the output."""


def backward(output: Tensor, gradient: Tensor | None = None, *, create_graph: bool = False) -> None:
    """Adds to the gradients of the leaves, as `Tensor.backward` does."""
    _run([output], [gradient], (), create_graph=create_graph)


def grad(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], gradients: Sequence[Tensor | None], *, create_graph: bool
) -> tuple[Tensor | None, ...]:
    """Returns the gradients of the inputs, as `torch.autograd.grad` does, and adds none to any leaf."""
    edges = [get_gradient_edge(each) for each in inputs]
    sums = _run(outputs, gradients, [edge.node for edge in edges], create_graph=create_graph)
    return tuple(sums.get(edge.node, {}).get(edge.output_nr) for edge in edges)


def _run(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], wanted: Sequence[Node], *, create_graph: bool
) -> Sums:
    """Runs the graph back from the outputs; where nodes are wanted, leaves get nothing."""
    sums: Sums = {}
    with torch.set_grad_enabled(create_graph):
        for output, gradient in zip(outputs, gradients, strict=True):
            edge = get_gradient_edge(output)
            _add(sums, edge.node, edge.output_nr, torch.ones_like(output) if gradient is None else gradient)
        for node in _falling(list(sums)):
            own = sums.get(node)
            if own is None or node in wanted:
                continue
            if hasattr(node, "variable"):
                if not wanted:
                    _accumulate(node.variable, own[0])
                continue
            given = [own.get(number) for number in range(len(node._input_metadata))]
            made = node(*given) if callable(node) else node.apply(*given)
            made = made if isinstance(made, tuple) else (made,)
            for (following, number), value in zip(node.next_functions, made, strict=False):
                if following is not None and value is not None:
                    _add(sums, following, number, value)
            del sums[node]
    return sums


def _falling(roots: Sequence[Node]) -> Iterator[Node]:
    """Yields the nodes so that each comes before those that it hands gradients to."""
    finished: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in roots]
    while stack:
        node, left = stack.pop()
        if left:
            finished.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((following, False) for following, _ in node.next_functions if following is not None)
    yield from reversed(finished)


def _add(sums: Sums, node: Node, number: int, value: Tensor) -> None:
    """Adds a gradient to what a node has so far, in the shape and type that the engine brings it to."""
    wanted = node._input_metadata[number]
    if value.shape != wanted.shape:
        value = value.sum_to_size(wanted.shape)
    if value.dtype != wanted.dtype:
        value = value.to(wanted.dtype)
    if value.device != wanted.device:
        raise RuntimeError(f"{node.name()} was given a gradient on {value.device}, wanted {wanted.device}")
    own = sums.setdefault(node, {})
    own[number] = own[number] + value if number in own else value


def _accumulate(leaf: Tensor, gradient: Tensor) -> None:
    if leaf.grad is not None:
        leaf.grad += gradient
        return
    lies_alike = gradient.stride() == leaf.stride()
    leaf.grad = gradient.detach() if lies_alike else torch.empty_like(leaf).copy_(gradient)
