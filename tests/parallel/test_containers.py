"""Whatever holds the rows: the same results, chunk by chunk, or one clear error."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from problems import NAMED
from scipy import sparse
from sklearn.callback import ScoringMonitor
from sklearn.utils import check_array

from skprosper import BinarySparseCoding, SparseCoding
from skprosper.annealing import Annealing
from skprosper.datasets import load_image_patches, make_bars
from skprosper.image import denoise

da = pytest.importorskip("dask.array")

PARAMS = dict(n_components=6, batch_size=100, max_iter=3, tol=0, random_state=0)
METHODS = ["transform", "reconstruct", "score_samples", "score"]
X, _, _ = make_bars(400, size=3, random_state=0)
COUNTS = np.random.default_rng(0).poisson(np.maximum(X, 0.0))
OTHER_TYPES = {
    "int16": COUNTS.astype("i2"),
    "unsigned": COUNTS.astype("u1"),
    "bool": COUNTS > 5,
    "half": X.astype("f2"),
    "big-endian": X.astype(">f8"),
    "big-endian float32": X.astype(">f4"),
    "extended": X.astype(np.longdouble),
}


def bars_of(process):
    return make_bars(400, size=3, random_state=0, **process)[0]


def assert_same_model(one, other):
    assert_array_equal(one.components_, other.components_)
    assert_array_equal(one.lower_bounds_, other.lower_bounds_)
    assert_array_equal(one.usage_, other.usage_)


def results(model, data):
    """Return what all methods that read data make of them."""
    for code in ("mean", "map", "probability"):
        yield model.set_params(code=code).transform(data)
    for method in METHODS[1:]:
        yield getattr(model, method)(data)
    posterior = model.posterior(data, 3)
    yield from (posterior.probabilities, posterior.support, posterior.marginals)


# Number types ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OTHER_TYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_numbers_are_as_if_converted_at_once(tmp_path, kind, order):
    data = np.asarray(OTHER_TYPES[kind], order=order)
    np.save(tmp_path / "X.npy", data)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    converted = check_array(data, dtype=[np.float64, np.float32])
    model = SparseCoding(**PARAMS).fit(converted)
    for rows in (data, mapped):
        assert_same_model(SparseCoding(**PARAMS).fit(rows), model)
        for one, other in zip(results(model, rows), results(model, converted)):
            assert_array_equal(one, other)
    stream, other = (SparseCoding(**PARAMS).partial_fit(rows) for rows in (mapped, converted))
    assert_array_equal(stream.components_, other.components_)


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_other_numbers_go_to_all_workers(backend):
    data = OTHER_TYPES["int16"]
    with parallel_config(backend=backend, n_jobs=2):
        model = SparseCoding(**PARAMS).fit(data)
        codes = model.transform(data)
    assert_same_model(model, SparseCoding(**PARAMS).fit(data))
    assert_array_equal(codes, model.transform(data))


def peak_of(function, *args):
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "dtype, params",
    [
        (np.int16, {}),
        (np.float32, dict(annealing=Annealing(data_share=0.9))),
        (np.float64, dict(annealing=Annealing(data_cut=0.1), center="zero", max_changes=2)),
    ],
)
def test_a_memory_map_is_never_held_whole(tmp_path, dtype, params):
    n, n_features = 20_000, 60
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.integers(0, 9, (n, n_features)).astype(dtype))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = SparseCoding(3, batch_size=500, max_iter=2, random_state=0, **params)
    model.fit(mapped).score(mapped)  # what is compiled and imported is not of the data
    assert peak_of(model.fit, mapped) < 0.4 * n * n_features * np.dtype(dtype).itemsize
    assert peak_of(model.score, mapped) < 0.4 * n * n_features * np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8"])
def test_what_is_not_finite_is_found_in_its_chunk(dtype):
    data = X.astype(dtype)
    model = SparseCoding(**PARAMS).fit(data)
    data[350, 2] = np.inf
    for method in ("fit", "partial_fit", "posterior", *METHODS):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            getattr(model, method)(data)


def test_what_a_mask_hides_is_missing():
    hidden = np.zeros(X.shape, bool)
    hidden[350, 2] = True
    model = SparseCoding(**PARAMS).fit(np.ma.masked_array(X))
    assert_same_model(model, SparseCoding(**PARAMS).fit(X))
    blocks = da.from_array(X, chunks=(100, 9))
    for data, missing in (
        (np.ma.masked_array(X, hidden), np.where(hidden, np.nan, X)),
        (np.ma.masked_array(COUNTS, hidden), np.where(hidden, np.nan, COUNTS)),
        (da.ma.masked_array(blocks, hidden), da.where(hidden, np.nan, blocks)),
    ):
        expected = SparseCoding(**PARAMS).fit(missing)
        assert_same_model(SparseCoding(**PARAMS).fit(data), expected)
        assert expected.score(data) == expected.score(missing)
    weights = np.ma.masked_array(np.ones(400), np.arange(400) == 3)
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        model.score(X, sample_weight=weights)


@pytest.mark.parametrize(
    "data, error, message",
    [
        (X.astype("M8[s]"), TypeError, "dates as times since"),
        (np.rec.fromarrays(X.T), TypeError, "structured_to_unstructured"),
        (COUNTS[0], ValueError, "Expected 2D array, got 1D"),
        (COUNTS[None], ValueError, "Found array with dim 3"),
        (COUNTS[:1], ValueError, "minimum of 2 is required"),
        (COUNTS[:, :0], ValueError, r"0 feature\(s\)"),
        (np.array(3), ValueError, "Expected 2D array, got scalar"),
        (sparse.csr_array(X), TypeError, "dense data is required"),
    ],
)
def test_what_is_no_table_of_numbers_gives_one_clear_error(data, error, message):
    with pytest.raises(error, match=message):
        SparseCoding(**PARAMS).fit(data)


def test_a_weight_without_dimensions_is_that_of_all_rows():
    model = SparseCoding(**PARAMS).fit(X, sample_weight=np.array(2.0))
    assert_same_model(model, SparseCoding(**PARAMS).fit(X, sample_weight=np.full(400, 2.0)))


def test_callbacks_are_given_the_data_as_they_came():
    frame = pd.DataFrame(COUNTS, columns=list("abcdefghi"))
    seen = []

    def score(estimator, data, y):
        seen.append(data)
        return estimator.score(data)

    model = SparseCoding(**PARAMS).set_callbacks(ScoringMonitor(scoring={"bound": score}))
    model.fit(frame)  # a warning of missing feature names would be an error
    assert all(data is frame for data in seen) and seen


# Blocks of dask arrays ------------------------------------------------------------------


def blocks_of(data):
    """Return rows as blocks of which some are empty, their sizes unknown and known."""
    number = np.arange(len(data)) // 100
    blocks = da.from_array(data, chunks=(100, -1))
    kept = da.from_array(number != 1, chunks=100)
    return blocks[kept], blocks[kept].compute_chunk_sizes(), data[number != 1]


@pytest.mark.parametrize("model, process, signed", NAMED)
def test_empty_blocks_and_blocks_of_unknown_size(model, process, signed):
    data = bars_of(process)
    unknown, known, rows = blocks_of(data)
    assert np.isnan(unknown.shape[0]) and 0 in known.chunks[0]
    fitted = model(**PARAMS).fit(rows)
    for blocks in (unknown, known):
        again = model(**PARAMS).fit(blocks)
        assert_allclose(again.lower_bounds_, fitted.lower_bounds_, rtol=1e-9)
        stream = model(**PARAMS).partial_fit(blocks)
        assert_allclose(stream.lower_bounds_, model(**PARAMS).partial_fit(rows).lower_bounds_)
        for one, other in zip(results(fitted, blocks), results(fitted, rows)):
            assert_allclose(one, other, rtol=1e-9)
        codes = fitted.transform(blocks)
        expected = fitted.inverse_transform(fitted.transform(rows))
        assert_allclose(fitted.inverse_transform(codes), expected, rtol=1e-9)


@pytest.mark.parametrize("model, process, signed", NAMED)
def test_a_posterior_of_blocks_of_unknown_size_grows_as_that_of_an_array(model, process, signed):
    unknown, _, rows = blocks_of(bars_of(process))
    params = {**PARAMS, "center": "zero", "n_candidates": 2, "max_changes": 1}
    fitted = model(**params).fit(rows)
    one, other = fitted.posterior(unknown, 3), fitted.posterior(rows, 3)
    assert_array_equal(one.support, other.support)
    assert_array_equal(one.max_changes, other.max_changes)


@pytest.mark.parametrize("weighted", [False, True])
def test_data_cut_of_blocks_of_unknown_size(weighted):
    unknown, _, rows = blocks_of(X)
    weights = np.random.default_rng(0).uniform(0, 2, len(rows)) if weighted else None
    blocks = None if weights is None else da.from_array(weights, chunks=((100, 100, 100),))
    params = {**PARAMS, "center": "zero", "max_changes": 2, "annealing": Annealing(data_cut=1.0)}
    if weighted:  # blocks of weights are those of the data
        unknown = da.concatenate([unknown.blocks[i] for i in (0, 2, 3)])
    model = SparseCoding(**params).fit(unknown, sample_weight=blocks)
    expected = SparseCoding(**params).fit(rows, sample_weight=weights)
    assert_allclose(model.lower_bounds_, expected.lower_bounds_, rtol=1e-9)


@pytest.mark.parametrize("init", ["k-means++", "random_from_data"])
def test_rows_are_drawn_past_empty_blocks(init):
    _, known, rows = blocks_of(X)
    weights = np.random.default_rng(0).uniform(0, 2, len(rows))
    params = {**PARAMS, "components_init": init}
    model = SparseCoding(**params).fit(known, sample_weight=weights)
    expected = SparseCoding(**params).fit(rows, sample_weight=weights)
    assert_allclose(model.lower_bounds_, expected.lower_bounds_, rtol=1e-9)


def test_blocks_without_any_row_give_one_clear_error():
    nothing = da.from_array(X, chunks=(100, 9))[da.from_array(np.zeros(400, bool), chunks=100)]
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="no row that counts"):
            getattr(SparseCoding(**PARAMS), method)(nothing)
    assert SparseCoding(**PARAMS).fit(X).transform(nothing).compute().shape == (0, 6)


# Codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model, process, signed", NAMED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sparse_codes_superpose_as_dense_ones(model, process, signed, dtype):
    data = bars_of(process).astype(dtype)
    fitted = model(**PARAMS).fit(data)
    posterior = fitted.posterior(data, 2)
    for rank in (0, 1):
        dense = fitted.inverse_transform(posterior.codes(rank))
        assert dense.dtype == dtype
        assert_array_equal(fitted.inverse_transform(posterior.to_sparse(rank)), dense)
        assert_array_equal(fitted.inverse_transform(posterior.to_sparse(rank).tocoo()), dense)


def test_bad_sparse_codes_give_one_clear_error():
    model = SparseCoding(**PARAMS).fit(X)
    codes = sparse.csr_array(np.where(np.eye(6) > 0, np.nan, 0.0))
    with pytest.raises(ValueError, match="X contains NaN"):
        model.inverse_transform(codes)
    with pytest.raises(ValueError, match="codes of this model have 6"):
        model.inverse_transform(codes[:, :3])


# What scikit-learn is asked to return ---------------------------------------------------


# polars is not among what the tests install: asking for it inside would raise
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_what_transformers_return_by_default_changes_no_fit(container):
    X, _, _ = make_bars(600, size=3, random_state=1)
    params = dict(n_components=6, max_iter=40, random_state=0)
    priors = ("ternary", "spike-slab")
    plain = [SparseCoding(prior=prior, **params).fit(X) for prior in priors]
    patches = load_image_patches(200, random_state=0)
    stripes = np.tile(np.where(np.arange(24) % 8 < 4, 50.0, 200.0), (24, 1))
    noisy = stripes + 20 * np.random.default_rng(0).standard_normal(stripes.shape)
    denoised = denoise(noisy, fast=True, random_state=0)
    with sklearn.config_context(transform_output=container):
        for prior, expected in zip(priors, plain):
            assert_same_model(SparseCoding(prior=prior, **params).fit(X), expected)
        again = load_image_patches(200, random_state=0)
        assert type(again) is np.ndarray
        assert_array_equal(again, patches)
        assert_array_equal(denoise(noisy, fast=True, random_state=0), denoised)


# Wide data ------------------------------------------------------------------------------


def wide_data(n, n_features, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((n, 4))
    return codes @ rng.standard_normal((4, n_features)) + 0.1 * rng.standard_normal((n, n_features))


@pytest.mark.parametrize("prior", ["binary", "spike-slab"])
@pytest.mark.parametrize("init", [None, "random", "k-means++", "given"])
def test_nothing_is_over_pairs_of_features_where_there_are_few_rows(prior, init):
    n_features = 6_000
    data = wide_data(100, n_features)
    init = data[:4] if isinstance(init, str) and init == "given" else init
    model = SparseCoding(4, prior=prior, components_init=init, max_iter=8, random_state=0)
    SparseCoding(4, prior=prior, max_iter=8, random_state=0).fit(data[:, :20])  # compiles
    assert peak_of(model.fit, data) < 0.2 * 8 * n_features**2
    assert np.isfinite(model.lower_bound_)


def test_few_components_of_many_rows_start_from_some_of_them():
    data = wide_data(1_500, 1_100)
    model = BinarySparseCoding(4, batch_size=100, max_iter=3, random_state=0)
    assert peak_of(model.fit, data) < 3.1 * data.nbytes  # 3.7 with the second moments
    blocks = da.from_array(data, chunks=(300, 1_100))
    again = BinarySparseCoding(4, batch_size=300, max_iter=3, random_state=0)
    assert_array_equal(again.fit(blocks).components_, again.fit(data).components_)


def test_a_full_covariance_of_very_many_features_gives_one_clear_error():
    data = np.random.default_rng(0).standard_normal((3, 20_001))
    with pytest.raises(ValueError, match="noise='full' has a covariance of 20001 x 20001"):
        SparseCoding(2, noise="full").fit(data)
