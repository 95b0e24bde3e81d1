"""Bad input gets an error that names the thing, before any work."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv


def linear(params, x):
    return x @ params["w"]


def problem(x=None, y=None, likelihood=None, *, params=None, apply=linear, **options):
    x = np.ones((3, 2)) if x is None else x
    y = np.zeros(3, dtype=np.int64) if y is None else y
    params = {"w": np.ones((2, 4))} if params is None else params
    made = cv.Problem(cv.Model(apply, params), likelihood or cv.Categorical(), (x, y), **options)
    made.loss()
    return made


def test_labels_out_of_range_name_the_example_and_the_range():
    with pytest.raises(cv.DataError, match="label of example 2 is 4, outside 0 … 3"):
        problem(y=np.array([0, 1, 4]))
    with pytest.raises(cv.DataError, match="label of example 0 is -1"):
        problem(y=np.array([-1, 1, 2]))


def test_labels_of_the_wrong_kind():
    with pytest.raises(cv.DataError, match="class indices, integers from 0 to 3"):
        problem(y=np.zeros(3))
    with pytest.raises(cv.DataError, match=r"labels of shape \(3, 4\)"):
        problem(y=np.zeros((3, 4), dtype=np.int64))
    with pytest.raises(cv.DataError, match=r"a label of example 1 lies outside \[0, 1\]"):
        problem(y=np.array([0.0, 2.0, 1.0]), likelihood=cv.Bernoulli(), params={"w": np.ones((2, 1))})
    with pytest.raises(cv.DataError, match="example 2 has no counts"):
        problem(y=np.array([0.0, 2.0, 1.5]), likelihood=cv.Poisson(), params={"w": np.ones((2, 1))})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_names_the_example(value):
    x = np.ones((3, 2))
    x[1, 0] = value
    with pytest.raises(cv.DataError, match="x of example 1 is NaN or infinite"):
        problem(x=x)
    y = np.array([0.0, 1.0, value])
    with pytest.raises(cv.DataError, match="y of example 2 is NaN or infinite"):
        problem(y=y, likelihood=cv.Gaussian(), params={"w": np.ones((2, 1))})


def test_shapes_that_do_not_fit():
    with pytest.raises(cv.DataError, match=r"x has shape \(2, 2\), y has 3 examples"):
        problem(x=np.ones((2, 2)))
    with pytest.raises(cv.DataError, match=r"targets of shape \(3, 3\) do not fit outputs of shape \(3, 4\)"):
        problem(y=np.ones((3, 3)), likelihood=cv.Gaussian())
    with pytest.raises(cv.ModelError, match="examples lie on the first axis"):
        problem(apply=lambda params, x: (x @ params["w"]).T)
    with pytest.raises(cv.ModelError, match="returned a list"):
        problem(apply=lambda params, x: [x @ params["w"]])


def test_empty_data():
    with pytest.raises(cv.DataError, match="batch 0 is empty"):
        problem(x=np.ones((0, 2)), y=np.zeros(0, dtype=np.int64))
    model = cv.Model(linear, {"w": np.ones((2, 4))})
    with pytest.raises(cv.DataError, match="holds no batches"):
        cv.Problem(model, cv.Categorical(), []).loss()


def test_a_one_shot_iterator_is_refused():
    model = cv.Model(linear, {"w": np.ones((2, 4))})
    with pytest.raises(cv.DataError, match="one-shot iterator"):
        cv.Problem(model, cv.Categorical(), iter([(np.ones((1, 2)), np.zeros(1, dtype=int))]))


def test_weights():
    model = cv.Model(linear, {"w": np.ones((2, 4))})
    data = (np.ones((3, 2)), np.zeros(3, dtype=np.int64))
    with pytest.raises(cv.DataError, match=r"weights have shape \(2,\)|y has 3 examples"):
        cv.Problem(model, cv.Categorical(), (*data, np.ones(2)))
    with pytest.raises(cv.DataError, match="weight of example 1 is negative"):
        cv.Problem(model, cv.Categorical(), (*data, np.array([1.0, -1.0, 1.0])))
    with pytest.raises(cv.DataError, match="weights of all examples are zero"):
        _ = cv.Problem(model, cv.Categorical(), (*data, np.zeros(3))).total_weight


def test_parameters():
    with pytest.raises(cv.DataError, match="'w' has dtype int64"):
        cv.Model(linear, {"w": np.ones((2, 4), dtype=np.int64)})
    with pytest.raises(cv.DataError, match="no parameters"):
        cv.Model(linear, {})
    with pytest.raises(cv.MixedBackendError, match="float32"):
        cv.Model(linear, {"v": np.ones(1, dtype=np.float32), "w": np.ones((2, 4))})
    with pytest.raises(cv.ModelError, match="apply must be a function"):
        cv.Model(3, {"w": np.ones(1)})


def test_a_backend_of_ones_own_is_kept():
    import array_api_strict

    mine = cv.ArrayBackend("mine", array_api_strict)
    model = cv.Model(linear, {"w": mine.asarray(np.ones((2, 4)))}, backend=mine)
    made = cv.Problem(model, cv.Categorical(), (mine.asarray(np.ones((3, 2))), mine.asarray(np.array([0, 1, 2]))))
    for operator in (cv.Fisher(made), cv.approximate(cv.Fisher(made), "kfac")):
        assert operator.backend is mine
    with pytest.raises(cv.MixedBackendError, match=r"numpy.ndarray, not of backend 'mine'"):
        cv.Model(linear, {"w": np.ones((2, 4))}, backend=mine)


def test_targets_of_another_layout_are_not_taken_for_the_outputs():
    model = cv.Model(lambda p, x: cv.namespace(x).reshape(x @ p["w"], (-1, 2, 3)), {"w": np.ones((2, 6))})
    x = np.ones((4, 2))
    cv.Problem(model, cv.Gaussian(), (x, np.ones((4, 2, 3)))).loss()
    cv.Problem(model, cv.Gaussian(), (x, np.ones((4, 6)))).loss()
    with pytest.raises(cv.DataError, match=r"targets of shape \(4, 3, 2\) do not fit outputs of shape \(4, 2, 3\)"):
        cv.Problem(model, cv.Gaussian(), (x, np.ones((4, 3, 2)))).loss()


def test_a_likelihood_that_sums_over_examples_is_refused():
    class Summed(cv.Likelihood):
        def log_prob(self, outputs, y):
            xp = cv.namespace(outputs)
            return -xp.sum((outputs - y) ** 2)

    with pytest.raises(cv.ModelError, match=r"Summed.log_prob returned shape \(\).*not over the examples"):
        problem(y=np.ones((3, 4)), likelihood=Summed())


def test_batches_of_weight_zero_do_not_count(generator):
    model = cv.Model(linear, {"w": generator.standard_normal((2, 4))})
    x, y = generator.standard_normal((3, 2)), np.array([0, 1, 2])
    padding = (np.full((3, 2), 7.0), y, np.zeros(3))
    plain = cv.Problem(model, cv.Categorical(), [(x, y, np.ones(3))])
    padded = cv.Problem(model, cv.Categorical(), [(x, y, np.ones(3)), padding])
    assert float(padded.loss()) == float(plain.loss())
    for method in ("exact", "kfac", "diagonal"):
        one, two = (cv.approximate(cv.Fisher(p), method).to_dense() for p in (plain, padded))
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(cv.Fisher(plain).to_dense(), cv.Fisher(padded).to_dense())
    with pytest.raises(cv.DataError, match="weights of all examples are zero"):
        cv.Problem(model, cv.Categorical(), padding)


def test_dtypes_of_data_and_parameters_agree():
    with pytest.raises(cv.DataError, match=r"x has dtype float64, the parameters have float32.*astype"):
        problem(params={"w": np.ones((2, 4), dtype=np.float32)})
    with pytest.raises(cv.DataError, match="y has dtype complex128"):
        problem(y=np.ones((3, 4), dtype=complex), likelihood=cv.Gaussian())


def test_a_model_that_fails_says_on_what():
    with pytest.raises(cv.ModelError, match=r"apply\(params, x\) raised ValueError.*inputs \(3, 3\); parameters w: \(2, 4\)"):
        problem(x=np.ones((3, 3)))
    with pytest.raises(cv.ModelError, match="raised KeyError: 'v'"):
        problem(apply=lambda p, x: x @ p["v"])


def test_parameters_that_are_nan_or_collide():
    with pytest.raises(cv.ModelError, match="parameter 'w' is NaN"):
        problem(params={"w": np.full((2, 4), np.nan)})
    with pytest.raises(cv.ShapeError, match=r"two parameters have the path 'a.b'"):
        cv.Model(linear, {"a": {"b": np.ones(1)}, "a.b": np.ones(1)})
    with pytest.raises(cv.DataError, match="'w' is empty"):
        cv.Model(linear, {"w": np.ones((0, 4))})


def test_a_tuple_of_batches():
    model = cv.Model(linear, {"w": np.ones((2, 4))})
    batch = (np.ones((3, 2)), np.array([0, 1, 2]))
    with pytest.raises(cv.DataError, match="several batches come in a list"):
        cv.Problem(model, cv.Categorical(), (batch, batch))


def test_things_of_the_wrong_kind():
    model = cv.Model(linear, {"w": np.ones((2, 4))})
    with pytest.raises(cv.DataError, match="a likelihood is an instance of"):
        cv.Problem(model, "gaussian", (np.ones((3, 2)), np.zeros(3)))
    with pytest.raises(cv.DataError, match=r"Fisher takes a curvature\.Problem, got a Model"):
        cv.Fisher(model)
    with pytest.raises(cv.ShapeError, match="'w' is a float, expected an array"):
        cv.Fisher(problem()) @ {"w": 1.0}


def test_one_class_has_no_fisher_information(be):
    model = cv.Model(linear, {"w": be.asarray(np.ones((2, 1)))})
    made = cv.Problem(model, cv.Categorical(), (be.asarray(np.ones((3, 2))), be.asarray(np.zeros(3, dtype=np.int64))))
    for method in ("exact", "kfac", "diagonal"):
        assert np.all(be.to_numpy(cv.approximate(cv.Fisher(made), method).to_dense()) == 0)


def test_data_of_another_library():
    x = cv.backend("torch").asarray(np.ones((3, 2)))
    with pytest.raises(cv.MixedBackendError, match=r"x is a torch.Tensor.*backend.asarray"):
        problem(x=x)


def test_the_class_of_a_likelihood_is_no_likelihood():
    with pytest.raises(cv.DataError, match=r"Categorical\(\)"):
        cv.Problem(cv.Model(linear, {"w": np.ones((2, 4))}), cv.Categorical, (np.ones((3, 2)), np.zeros(3, dtype=int)))


def test_unknown_objects_are_no_models():
    with pytest.raises(cv.UnsupportedError, match=r"no plugin knows .*builtins.dict.*curvature.Model\(apply, params\)"):
        cv.as_model({})


def test_coupled_examples_are_refused():
    """Batch normalisation in training mode: an example's outputs depend on the others."""

    def apply(params, x):
        xp = cv.namespace(x)
        return (x - xp.mean(x, axis=0)) @ params["w"]

    made = problem(x=np.arange(6.0).reshape(3, 2), apply=apply)
    with pytest.raises(cv.ModelError, match="couples its examples or is random"):
        cv.approximate(cv.Fisher(made), "diagonal")


def test_unused_parameters_are_said_and_have_zero_rows(be):
    params = {"ghost": be.asarray(np.ones(3)), "w": be.asarray(np.ones((2, 4)))}
    made = cv.Problem(cv.Model(linear, params), cv.Categorical(), (be.asarray(np.eye(2)), be.asarray(np.array([0, 3]))))
    with pytest.warns(cv.UnusedParameterWarning, match="does not use 'ghost'"):
        diagonal = cv.approximate(cv.Fisher(made), "diagonal")
    entries = be.to_numpy(diagonal.diagonal())
    assert np.all(entries[:3] == 0)
    assert np.all(entries[3:] > 0)
    kfac = cv.approximate(cv.Fisher(made), "kfac")
    assert np.all(be.to_numpy(kfac.to_dense())[:3] == 0)
    dense = be.to_numpy(cv.Fisher(made).to_dense())
    assert np.all(dense[:3] == 0)


def test_statistics_that_are_not_finite_are_refused():
    made = problem(x=np.full((3, 2), 1e200), y=np.zeros(3), likelihood=cv.Gaussian(), params={"w": np.ones((2, 1))})
    with np.errstate(all="ignore"), pytest.raises(cv.DataError, match="NaN or infinite"):
        cv.approximate(cv.Fisher(made), "kfac")


def test_a_model_that_writes_into_its_inputs(be, generator):
    x = be.asarray(generator.standard_normal((5, 3)))
    before = be.to_numpy(x).copy()

    def apply(p, x):
        x -= 1.0
        return x @ p["w"]

    params = {"w": be.asarray(generator.standard_normal((3, 2)))}
    with pytest.raises(cv.ModelError, match=r"writes into its inputs x in place.*rather than x \+= 1"):
        cv.Problem(cv.Model(apply, params), cv.Gaussian(), (x, be.asarray(np.zeros((5, 2)))))
    np.testing.assert_array_equal(be.to_numpy(x), before)


def test_a_model_that_writes_into_its_parameters(be, generator):

    def apply(p, x):
        p["w"] *= 2.0
        return x @ p["w"]

    w = generator.standard_normal((3, 2))
    params = {"w": be.asarray(w.copy())}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(np.zeros((5, 2))))
    with pytest.raises(cv.ModelError, match="writes into parameter 'w' in place"):
        cv.Problem(cv.Model(apply, params), cv.Gaussian(), data)
    np.testing.assert_array_equal(be.to_numpy(params["w"]), w)


def hungry(limit):
    """A model that asks for more memory than there is once it gets more than ``limit`` examples."""

    def apply(p, x):
        if x.shape[0] > limit:
            np.ones((x.shape[0], 2**50))
        return x @ p["w"]

    return apply


@pytest.mark.parametrize(
    ("limit", "remedy"), [(6, "5 examples at a time do: give the data as a list of batches of at most 5"), (2, "2 examples")]
)
@pytest.mark.parametrize("work", ["gradient", "loss", "product", "statistics"])
def test_a_device_without_memory(generator, limit, remedy, work):
    params = {"w": generator.standard_normal((3, 2))}
    data = (generator.standard_normal((10, 3)), np.zeros((10, 2)))
    problem = cv.Problem(cv.Model(hungry(limit), params), cv.Gaussian(), data)
    jobs = {
        "gradient": problem.gradient,
        "loss": problem.loss,
        "product": lambda: cv.Fisher(problem) @ params,
        "statistics": lambda: cv.approximate(cv.Fisher(problem), "kfac"),
    }
    with pytest.raises(cv.DeviceMemoryError, match=f"10 examples does not fit the memory.*; {remedy}"):
        jobs[work]()


def test_a_library_whose_lack_of_memory_is_an_error_of_its_own(generator):
    import torch

    def apply(p, x):
        return x @ p["w"] + (torch.ones(x.shape[0], 2**50)[:, :2] if x.shape[0] > 4 else 0.0)

    params = {"w": torch.ones(3, 2)}
    problem = cv.Problem(cv.Model(apply, params), cv.Gaussian(), (torch.ones(10, 3), torch.ones(10, 2)))
    for work in (problem.gradient, problem.loss, lambda: cv.Hessian(problem) @ params, problem.uses):
        with pytest.raises(cv.DeviceMemoryError, match=r"'torch' on cpu .*allocate memory.*; 2 examples at a time do"):
            work()


def test_a_device_without_memory_for_one_example(generator):
    problem = cv.Problem(cv.Model(hungry(2), {"w": np.ones((3, 2))}), cv.Gaussian(), (np.ones((8, 3)), np.zeros((8, 2))))
    problem.model.apply = hungry(0)
    with pytest.raises(cv.DeviceMemoryError, match="nor does a single example"):
        problem.gradient()


def test_nothing_stays_allocated_after_a_lack_of_memory():
    import gc
    import weakref

    kept = []

    def apply(p, x):
        if x.shape[0] > 4:
            big = np.ones((1000, 1000))
            kept.append(weakref.ref(big))
            np.ones((x.shape[0], 2**50))
        return x @ p["w"]

    problem = cv.Problem(cv.Model(apply, {"w": np.ones((3, 2))}), cv.Gaussian(), (np.ones((8, 3)), np.zeros((8, 2))))
    with pytest.raises(cv.DeviceMemoryError) as caught:
        problem.gradient()
    gc.collect()
    assert kept
    assert all(reference() is None for reference in kept)
    assert "4 examples at a time" in str(caught.value)


def test_data_on_another_device_than_the_parameters():
    import array_api_strict

    other = array_api_strict.Device("device1")
    x = array_api_strict.ones((4, 3), device=other)
    params = {"w": array_api_strict.ones((3, 2))}
    with pytest.raises(cv.MixedBackendError, match=r"batch 0: x is on device .*device1.*the parameters.*CPU_DEVICE.*be\.asarray"):
        cv.Problem(cv.Model(lambda p, x: x @ p["w"], params), cv.Gaussian(), (x, array_api_strict.ones((4, 2))))
