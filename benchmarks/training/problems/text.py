"""A character-level language model on text that every Python has: the help topics of ``pydoc_data.topics``.

The topics in alphabetical order, each paragraph once (many are in several topics), characters that occur fewer than ten times
left out; the first nine tenths are for training, the rest for testing. A transformer of two layers (d = 64, four heads, context
64, layer normalisation before attention and before the network, about 117,000 parameters) says for every position which character
comes next. The error is the mean cross-entropy in nats for each character, on the test text in windows that do not overlap.

The text hangs on the version of Python, which a record names.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from .base import ModuleProblem

CONTEXT, WIDTH, HEADS, BLOCKS = 64, 64, 4, 2


def text() -> str:
    """All of it."""
    from pydoc_data.topics import topics

    paragraphs = [paragraph for name in sorted(topics) for paragraph in topics[name].split("\n\n")]
    joined = "\n\n".join(dict.fromkeys(paragraphs))
    often = {character for character, times in Counter(joined).items() if times >= 10}
    return "".join(character for character in joined if character in often)


class Problem(ModuleProblem):
    """See the module's docstring."""

    name = "text"
    summary = "character-level transformer (2 layers, d = 64, context 64) on the help topics of Python, float32"
    measured = "nats for each character, test"
    targets: ClassVar[tuple[float, ...]] = (2.5, 2.0, 1.7, 1.5)
    budget = 120.0
    spacing = 0.05
    least = 1.0
    batch = 64

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        import torch

        super().__init__(seed, device)
        content = text()
        self.characters = sorted(set(content))
        number = {character: index for index, character in enumerate(self.characters)}
        codes = torch.tensor([number[character] for character in content])
        cut = len(codes) * 9 // 10
        self.train, self.test = _windows(codes[:cut], device), _windows(codes[cut:], device)

    def module(self) -> Any:
        import torch

        from .transformer import Transformer

        torch.manual_seed(self.seed)
        return Transformer(len(self.characters), WIDTH, HEADS, BLOCKS, CONTEXT).to(self.device)

    def data(self) -> tuple[Any, Any]:
        return self.train

    def loss(self, module: Any, x: Any, y: Any) -> Any:
        from torch.nn.functional import cross_entropy

        return cross_entropy(module(x).flatten(0, 1), y.flatten())

    def measure(self, params: Any) -> dict[str, float]:
        """From a module, or from named parameters of one."""
        import torch

        if isinstance(params, dict):
            module = self.module()
            module.load_state_dict(params)
            params = module
        with torch.no_grad():
            test = self._mean(params, *self.test)
            train = self._mean(params, *(part[: len(self.test[0])] for part in self.train))
        return {"test": test, "train": train}

    def _mean(self, module: Any, x: Any, y: Any) -> float:
        parts = [(len(a), float(self.loss(module, a, b))) for a, b in zip(x.split(256), y.split(256), strict=True)]
        return sum(size * value for size, value in parts) / len(x)


def _windows(codes: Any, device: str) -> tuple[Any, Any]:
    """Windows (N, context) that do not overlap, and what comes next at each position; in an order drawn once."""
    import torch

    count = (len(codes) - 1) // CONTEXT
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    x = codes[: count * CONTEXT].reshape(count, CONTEXT)[order]
    y = codes[1 : count * CONTEXT + 1].reshape(count, CONTEXT)[order]
    return x.to(device), y.to(device)
