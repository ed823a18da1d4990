import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from embeddings.head import Head, distances

Vector = NDArray[np.float32]

biases = st.floats(-20, 20)
logits = st.floats(-30, 30)  # where float64 still tells neighbouring scores from one another
extremes = st.floats(0, 1e308)
vectors = arrays(np.float32, 8, elements=st.floats(-1000, 1000, width=32))


@given(bias=biases, logit=logits, further=st.floats(0.001, 20))
def test_a_score_falls_strictly_as_the_distance_grows(bias: float, logit: float, further: float) -> None:
    head = Head(bias, 1.0)

    assert head.score(bias - logit) > head.score(bias - logit + further)


@given(bias=biases, near=extremes, far=extremes)
def test_a_score_never_rises_with_the_distance_however_large(bias: float, near: float, far: float) -> None:
    head = Head(bias, 1.0)

    assert head.score(min(near, far)) >= head.score(max(near, far))


@given(bias=biases, logit=logits)
def test_a_score_lies_strictly_between_0_and_1(bias: float, logit: float) -> None:
    assert 0 < Head(bias, 1.0).score(bias - logit) < 1


@given(bias=st.floats(-1e308, 1e308), distance=extremes)
def test_extreme_values_do_not_overflow(bias: float, distance: float) -> None:
    assert 0 <= Head(bias, 1.0).score(distance) <= 1


def test_a_distance_equal_to_the_bias_scores_one_half() -> None:
    assert Head(3.5, 1.0).score(3.5) == 0.5


def test_the_score_is_the_sigmoid_of_bias_minus_distance() -> None:
    assert Head(2.0, 1.0).score(5.0) == pytest.approx(1 / (1 + math.exp(3)))


@given(bias=biases, score=st.floats(1e-6, 1 - 1e-6))
def test_the_distance_of_a_score_has_that_score(bias: float, score: float) -> None:
    head = Head(bias, 1.0)

    assert head.score(head.distance_of(score)) == pytest.approx(score, rel=1e-9)


@given(bias=biases, distance=st.floats(0, 30))
def test_the_score_of_a_distance_has_that_distance(bias: float, distance: float) -> None:
    head = Head(bias, 1.0)
    score = head.score(distance)

    if 1e-9 < score < 1 - 1e-9:
        assert head.distance_of(score) == pytest.approx(distance, abs=1e-5)


@pytest.mark.parametrize("score", [0, 1, -0.1, 1.1, math.nan, math.inf])
def test_a_number_that_is_no_score_has_no_distance(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Head(1.0, 1.0).distance_of(score)


@given(a=vectors, b=vectors)
def test_distances_are_symmetric(a: Vector, b: Vector) -> None:
    assert distances(a[np.newaxis], b)[0] == distances(b[np.newaxis], a)[0]


@given(a=vectors)
def test_a_vector_is_at_no_distance_from_itself(a: Vector) -> None:
    assert distances(a[np.newaxis], a)[0] == 0


@given(a=vectors, b=vectors, c=vectors)
def test_a_detour_is_never_shorter(a: Vector, b: Vector, c: Vector) -> None:
    (a_to_b, a_to_c) = distances(np.stack([b, c]), a)
    b_to_c = distances(c[np.newaxis], b)[0]

    assert a_to_c <= (a_to_b + b_to_c) * (1 + 1e-5) + 1e-3


@given(a=vectors, b=vectors)
def test_distances_are_sums_of_absolute_differences(a: Vector, b: Vector) -> None:
    expected = math.fsum(abs(float(x) - float(y)) for x, y in zip(a, b, strict=True))

    assert distances(a[np.newaxis], b)[0] == pytest.approx(expected, rel=1e-5, abs=1e-3)


@given(a=vectors, b=vectors, seed=st.integers(0, 1000))
def test_the_order_of_coordinates_does_not_matter(a: Vector, b: Vector, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(a))

    assert distances(a[np.newaxis][:, order], b[order])[0] == pytest.approx(distances(a[np.newaxis], b)[0], rel=1e-6)


def test_every_reference_has_its_own_distance_in_single_precision() -> None:
    found = distances(np.array([[0, 0], [1, 2], [3, 4]], np.float32), np.zeros(2, np.float32))

    assert found.dtype == np.float32
    assert found.tolist() == [0, 3, 7]


people = arrays(np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=st.floats(-10, 10, width=32))


@given(reference=vectors, query=vectors)
def test_one_specimen_is_as_far_as_its_l1_distance(reference: Vector, query: Vector) -> None:
    found = Head(0.0, 3.0).distance(reference[np.newaxis], query)

    assert found == pytest.approx(float(distances(reference[np.newaxis], query)[0]))


@given(references=people, query=arrays(np.float32, 8, elements=st.floats(-10, 10, width=32)), seed=st.integers(0, 99))
def test_the_order_of_specimens_does_not_matter(references: Vector, query: Vector, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(references)
    head = Head(0.0, 3.0)

    assert head.distance(shuffled, query) == pytest.approx(head.distance(references, query), rel=1e-6, abs=1e-4)


def test_whoever_varies_much_is_forgiven_more() -> None:
    steady, unsteady = np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 0.0], [0.0, 3.0]])
    query = np.array([4.0, 0.0])
    head = Head(0.0, typical=2.0)

    assert head.distance(unsteady, query) == head.distance(steady, query) - 1.0


def test_nobody_is_forgiven_without_end() -> None:
    far_apart = np.array([[0.0, 0.0], [0.0, 1000.0]], np.float32)
    query = np.array([8.0, 0.0], np.float32)
    alone = Head(0.0, 2.0).distance(far_apart[:1], query)

    assert alone - 1.0 < Head(0.0, 2.0).distance(far_apart, query) < alone


def test_whoever_signs_in_two_ways_is_not_held_to_both() -> None:
    two_ways = np.array([[0.0, 0.0], [0.0, 50.0]], np.float32)
    head = Head(0.0, typical=2.0)

    assert head.distance(two_ways, two_ways[1]) < head.distance(two_ways[:1], np.array([1.0, 0.0], np.float32))


@given(reference=vectors, copies=st.integers(2, 5), query=vectors)
def test_enrolling_one_image_again_forgives_nothing(reference: Vector, copies: int, query: Vector) -> None:
    once = Head(0.0, 3.0).distance(reference[np.newaxis], query)

    assert Head(0.0, 3.0).distance(np.stack([reference] * copies), query) >= once
