"""Trees of arrays and values of any nesting."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import curvature as cv
from curvature.operators import Dense, Diagonal


class Layer(NamedTuple):
    weight: Any
    bias: Any


Pair = collections.namedtuple("Pair", "first second")

DTYPES = ["float64", "float32", "float16", "int64", "int8", "uint8", "uint16", "uint64", "bool"]
arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=4) | st.integers(-3, 3) | st.tuples(st.text(max_size=2), st.integers(0, 2))


def containers(children: Any) -> Any:
    return st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(keys, children, max_size=3),
        st.dictionaries(keys, children, max_size=3).map(collections.OrderedDict),
        st.builds(Layer, children, children),
        st.builds(Pair, children, children),
    )


trees = st.recursive(arrays | scalars, containers, max_leaves=12)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same_dicts(tree: Any) -> Any:
    """The same tree with dictionaries in the order of optree: theirs is no part of a tree's structure."""
    leaves, treespec = optree.tree_flatten(tree, none_is_leaf=True)
    return leaves, treespec


@SETTINGS
@given(tree=trees)
def test_any_tree_comes_back(tree, identical, tmp_path):
    cv.save(tree, tmp_path / "x")
    loaded = cv.load(tmp_path / "x")
    (leaves, treespec), (loaded_leaves, loaded_treespec) = same_dicts(tree), same_dicts(loaded)
    assert treespec == loaded_treespec
    assert treespec.paths() == loaded_treespec.paths()
    identical(leaves, loaded_leaves)


parameter_trees = st.recursive(
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3).map(lambda shape: np.ones(shape)) | st.none(),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.text("abc", min_size=1, max_size=3), children, max_size=3),
        st.dictionaries(st.text("abc", min_size=1, max_size=3), children, max_size=3).map(collections.OrderedDict),
        st.builds(Layer, children, children),
    ),
    max_leaves=8,
)


@SETTINGS
@given(tree=parameter_trees)
def test_an_operator_knows_its_parameters_again(tree, tmp_path):
    space = cv.ParameterSpace.of(tree)
    entries = np.arange(1.0, space.size + 1)
    cv.save(Diagonal(entries, space=space), tmp_path / "x")
    loaded = cv.load(tmp_path / "x")
    assert loaded.space == space
    if space.names:
        product = optree.tree_leaves(loaded @ tree)
        np.testing.assert_array_equal(np.concatenate([x.ravel() for x in product]), entries)


def test_names_of_arrays_tell_where_they_are(tmp_path):
    from safetensors.numpy import load_file

    cv.save({"model": [Dense(np.eye(2)), {"mean": np.ones(3)}]}, tmp_path / "x")
    stored = load_file(tmp_path / "x")
    assert sorted(stored) == ["model.0.array", "model.1.mean"]
    np.testing.assert_array_equal(stored["model.0.array"], np.eye(2))


def test_two_paths_of_one_name(identical, tmp_path):
    tree = {"a": {"b": np.ones(1)}, "a.b": np.zeros(2), "__metadata__": np.ones(3), "a.b~2": np.ones(4)}
    cv.save(tree, tmp_path / "x")
    loaded = cv.load(tmp_path / "x")
    assert set(loaded) == set(tree)
    identical({key: loaded[key] for key in tree}, tree)


def test_arrays_of_several_backends(tmp_path):
    tree = {"n": np.ones(2), "t": cv.backend("torch").asarray([1.5]), "g": np.float32(2.5), "s": cv.backend("numpy").asarray(3.0)}
    cv.save(tree, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", "torch")
    assert {key: (str(value.dtype), tuple(value.shape)) for key, value in loaded.items()} == {
        "n": ("torch.float64", (2,)),
        "t": ("torch.float32", (1,)),
        "g": ("torch.float32", ()),
        "s": ("torch.float64", ()),
    }


def test_a_bare_array_and_a_bare_number(tmp_path, identical):
    for value in (np.arange(3), 2.5, "text", None, float("-inf"), float("nan"), -0.0, 10**30, [], {}):
        cv.save(value, tmp_path / "x")
        identical(cv.load(tmp_path / "x"), value)


def test_arrays_that_are_not_contiguous(tmp_path, identical):
    base = np.arange(24.0).reshape(4, 6)
    tree = [
        base.T,
        base[::2, ::-3],
        np.asfortranarray(base),
        np.broadcast_to(np.ones(()), (2, 3)),
        base.astype(">f8"),
        base[:, 1],
    ]
    cv.save(tree, tmp_path / "x")
    identical(cv.load(tmp_path / "x"), [np.array(a, dtype=np.float64, order="C") for a in tree])
    torch = cv.backend("torch")
    cv.save([torch.asarray(base).T, torch.asarray(base)[1:, 2]], tmp_path / "x")
    identical(cv.load(tmp_path / "x"), [np.ascontiguousarray(base.T), np.ascontiguousarray(base[1:, 2])])


def test_tensors_with_a_history_are_saved_by_value(tmp_path):
    import torch

    parameter = torch.nn.Parameter(torch.ones(2))
    cv.save({"p": parameter, "q": parameter * 2}, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", "torch")
    assert not loaded["p"].requires_grad
    assert loaded["q"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"f": {"g": len}}, r"'f\.g' is a builtins\.builtin_function_or_method"),
        ([{1, 2}], "'0' is a builtins.set"),
        ({"x": 1j}, "'x' is a builtins.complex"),
        (b"raw", "'parameters' is a builtins.bytes"),
        ({b"k": 1}, r"key b'k' \(bytes\)"),
        ({float("nan"): 1}, "key nan"),
        ({frozenset(): np.ones(1)}, "key frozenset"),
    ],
)
def test_what_is_no_tree_of_arrays_is_refused(tree, message, tmp_path):
    with pytest.raises(cv.UnsupportedError, match=message):
        cv.save(tree, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_namedtuple_whose_module_is_not_imported(tmp_path):
    Local = collections.namedtuple("Local", "b a")
    tree = Local(np.ones(2), [np.zeros(3)])
    cv.save({"tree": tree, "op": Diagonal(np.arange(5.0), space=cv.ParameterSpace.of(tree))}, tmp_path / "x")
    with pytest.warns(cv.ContainerWarning, match=r"namedtuple .*Local of .* is not there") as caught:
        loaded = cv.load(tmp_path / "x")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert type(loaded["tree"]).__name__ == "Local"
    assert loaded["tree"]._fields == ("b", "a")
    # The tree and the operator in one file, or in two, have the same structure.
    product = loaded["op"] @ loaded["tree"]
    np.testing.assert_array_equal(product.b, [0.0, 1.0])


@optree.register_pytree_node_class(namespace="curvature")
class Custom:
    """Its children are not in alphabetical order."""

    def __init__(self, z: Any, a: Any) -> None:
        self.z, self.a = z, a

    def tree_flatten(self) -> Any:
        return (self.z, self.a), "secret", ("z", "a")

    @classmethod
    def tree_unflatten(cls, metadata: Any, children: Any) -> Custom:
        return cls(*children)


def test_a_container_of_another_class_keeps_names_and_flat_order(tmp_path):
    tree = {"m": Custom(np.ones(2), np.ones(1)), "q": collections.deque([np.ones(1)])}
    space = cv.ParameterSpace.of(tree)
    operator = Diagonal(np.arange(4.0), space=space)
    with pytest.warns(cv.ContainerWarning, match=r"is written as an ordered dictionary") as caught:
        cv.save(operator, tmp_path / "x")
    assert {str(w.message).split()[1] for w in caught} == {f"{__name__}.Custom", "collections.deque"}
    loaded = cv.load(tmp_path / "x")
    assert loaded.space.names == space.names == ("m.z", "m.a", "q.0")
    np.testing.assert_array_equal(loaded @ np.ones(4), np.arange(4.0))
    plain = {"m": collections.OrderedDict(z=np.ones(2), a=np.ones(1)), "q": collections.OrderedDict({0: np.ones(1)})}
    np.testing.assert_array_equal((loaded @ plain)["m"]["a"], [2.0])
    with pytest.raises(cv.ShapeError, match="structure"):
        loaded @ tree
