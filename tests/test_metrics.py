import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import NAMED
from scipy import linalg
from scipy.stats import ortho_group

from skprosper.datasets import make_bars
from skprosper.metrics import (
    amari_distance,
    distinct_components,
    match_components,
    psnr,
    recovered_components,
)


@pytest.fixture
def true():
    return np.random.default_rng(0).normal(size=(6, 10))


def test_components_are_matched_through_any_order_and_positive_scale(true):
    order = np.array([3, 0, 5, 1, 4, 2])
    scale = np.array([1e-200, 1, 2, 3, 1e9, 1e200])
    learned = true[order] * scale[:, np.newaxis]
    learned_index, true_index, cosine = match_components(learned, true)
    assert_array_equal(true_index, np.arange(6))
    assert_array_equal(order[learned_index], true_index)
    assert_allclose(cosine, 1)


def test_the_assignment_is_optimal_and_not_greedy():
    true = [[1, 0], [0.9, 0.436]]
    learned = [[0.95, 0.312], [0.3, 0.954]]  # the first is nearest to both
    learned_index, _, cosine = match_components(learned, true)
    assert_array_equal(learned_index, [0, 1])
    assert cosine.sum() > 0.95 + 0.68


@pytest.mark.parametrize(("n_learned", "n_true"), [(4, 6), (6, 4)])
def test_the_smaller_dictionary_is_matched_completely(true, n_learned, n_true):
    learned_index, true_index, cosine = match_components(true[:n_learned], true[:n_true])
    assert_array_equal(learned_index, np.arange(4))
    assert_array_equal(true_index, np.arange(4))
    assert_allclose(cosine, 1)


def test_opposite_components_match_only_where_the_sign_is_ignored(true):
    learned_index, _, cosine = match_components(-true, true, ignore_sign=True)
    assert_array_equal(learned_index, np.arange(6))
    assert_allclose(cosine, -1)
    assert recovered_components(-true, true, ignore_sign=True) == 6
    assert recovered_components(-true, true) == 0


def test_a_component_of_zeros_has_cosine_zero(true):
    true[2] = 0
    _, _, cosine = match_components(true, true)
    assert_allclose(cosine, [1, 1, 0, 1, 1, 1])
    assert recovered_components(true, true) == 5


def test_a_copy_does_not_recover_a_component_twice(true):
    learned = true[[0, 0, 0, 0, 0, 0]]
    assert recovered_components(learned, true, threshold=0.9) == 1


def test_a_component_is_recovered_above_the_threshold():
    learned = [[0.6, 0.8]]
    assert recovered_components(learned, [[1, 0]], threshold=0.59) == 1
    assert recovered_components(learned, [[1, 0]], threshold=0.61) == 0


@pytest.mark.parametrize("compare", [match_components, recovered_components])
def test_different_numbers_of_features_are_an_error(compare, true):
    with pytest.raises(ValueError, match="learned has 9 features and true has 10"):
        compare(true[:, :9], true)


def test_amari_distance_ignores_order_scale_and_sign(true):
    rng = np.random.default_rng(1)
    learned = true[rng.permutation(6)] * rng.choice([-3, 0.01, 1e6], size=(6, 1))
    assert amari_distance(learned, true) == pytest.approx(0, abs=1e-9)


def test_amari_distance_follows_its_definition():
    # P = true: rows 2/1 and 3/2, columns 3/2 and 2/1, less one each.
    true = np.array([[1.0, 1.0], [1.0, 0.0]])
    P = true / np.linalg.norm(true, axis=1, keepdims=True)
    rows = (P.sum(axis=1) / P.max(axis=1) - 1).sum()
    columns = (P.sum(axis=0) / P.max(axis=0) - 1).sum()
    expected = (rows + columns) / 4
    assert amari_distance(np.eye(2), true) == pytest.approx(expected)


def test_amari_distance_is_between_zero_and_one_and_grows_with_the_error(true):
    noise = np.random.default_rng(1).normal(size=true.shape)
    distances = [amari_distance(true + size * noise, true) for size in (0.01, 0.1, 3)]
    assert 0 < distances[0] < distances[1] < distances[2] < 1


def test_amari_distance_to_an_evenly_mixed_dictionary_is_one():
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    assert amari_distance(hadamard, np.eye(4)) == pytest.approx(1)
    assert amari_distance(np.zeros((4, 4)), np.eye(4)) == 1


def test_amari_distance_is_the_same_after_a_rotation_of_the_features(true):
    learned = true + 0.1 * np.random.default_rng(1).normal(size=true.shape)
    rotation = ortho_group.rvs(10, random_state=0)
    rotated = amari_distance(learned @ rotation, true @ rotation)
    assert rotated == pytest.approx(amari_distance(learned, true))


@pytest.mark.parametrize("shape", [(5, 10), (6, 9)])
def test_amari_distance_of_different_shapes_is_an_error(true, shape):
    with pytest.raises(ValueError, match="same shape"):
        amari_distance(true[: shape[0], : shape[1]], true)


def test_amari_distance_of_an_overcomplete_dictionary_is_an_error(true):
    with pytest.raises(ValueError, match="at most as many components as features"):
        amari_distance(true.T, true.T)


def test_psnr_is_the_ratio_of_range_and_error_in_decibels():
    reference = np.zeros((4, 5, 3))
    assert psnr(reference + 25.5, reference, 255) == pytest.approx(20)
    assert psnr(reference - 0.5, reference, 1) == pytest.approx(20 * np.log10(2))


def test_psnr_of_eight_bit_images_does_not_wrap_around():
    dark = np.zeros((3, 3), dtype=np.uint8)
    assert psnr(dark, dark + np.uint8(255), 255) == pytest.approx(0, abs=1e-12)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(np.ones((2, 2)), np.ones((2, 2)), 1) == np.inf


def test_psnr_of_different_shapes_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        psnr(np.ones((2, 3)), np.ones((3, 2)), 1)


def test_doubles_sums_and_faint_components_are_to_spare(true):
    usage = np.array([0.2, 0.21, 0.22, 0.23, 0.24, 0.25])
    spare = [2 * true[3], 0.5 * true[0] + true[1], true[2] + true[3] + true[4], 0 * true[0]]
    faint = np.random.default_rng(1).normal(size=(2, 10)) * [[1.0], [0.1]]
    components = np.vstack([true, spare, faint])
    usage = np.append(usage, [0.1, 0.1, 0.05, 0.5, 0.01, 0.2])
    for scale in (1e-200, 1.0, 1e200):
        assert_array_equal(distinct_components(scale * components, usage), [5, 4, 3, 2, 1, 0])


def test_differences_are_to_spare_where_the_sign_does_not_matter():
    true = np.eye(6, 10)
    components = np.vstack([true, [-true[0], true[1] - true[2]]])
    usage = np.append(np.full(6, 0.2), [0.1, 0.1])
    assert_array_equal(distinct_components(components, usage), np.arange(8))
    assert_array_equal(distinct_components(components, usage, ignore_sign=True), np.arange(6))


def test_of_two_alike_the_more_used_one_is_kept(true):
    components = np.vstack([true[0], true[0] + 0.01 * true[1]])
    assert_array_equal(distinct_components(components, [0.1, 0.2]), [1])
    assert_array_equal(distinct_components(components, [0.2, 0.2]), [0])


def test_components_that_nothing_uses_are_all_to_spare(true):
    assert len(distinct_components(true, np.zeros(6))) == 0
    assert len(distinct_components(0 * true, np.ones(6))) == 0


@pytest.mark.parametrize("usage", [np.ones(3), np.full((6, 1), 0.1), np.full(6, -0.1)])
def test_usage_has_to_fit_the_components(true, usage):
    with pytest.raises(ValueError, match="one share of at least 0 for each of the 6"):
        distinct_components(true, usage)


@pytest.mark.parametrize("model, kind, ignore_sign", NAMED)
def test_of_components_to_spare_only_the_causes_are_distinct(model, kind, ignore_sign):
    X, _, bars = make_bars(1000, random_state=2, **kind)
    estimator = model(18, random_state=2).fit(X)
    components = estimator.components_
    if kind.get("prior") == "spike-slab":  # of unit norm
        components = estimator.prior_.amplitudes(18)[:, None] * components
    index = distinct_components(components, estimator.usage_, ignore_sign=ignore_sign)
    found = recovered_components(components[index], bars, ignore_sign=ignore_sign)
    # now and then one more is kept, that explains noise
    assert found == 10 <= len(index) <= 11


def test_amari_distance_needs_no_singular_values(monkeypatch):
    def failing(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    for module, name in (
        (np.linalg, "svd"),
        (np.linalg, "pinv"),
        (linalg, "svd"),
        (linalg, "pinv"),
    ):
        monkeypatch.setattr(module, name, failing)
    turn = linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    assert amari_distance(-2.0 * turn[::-1], turn) < 1e-12


def test_amari_distance_counts_what_has_no_counterpart_as_spread_over_all():
    turn = ortho_group.rvs(9, random_state=0)
    for h in range(9):
        learned = turn.copy()
        learned[h] = 0.0  # neither it nor what it stood for has one
        assert amari_distance(learned, turn) == pytest.approx(1.0 / 9.0)
