from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from study_app.studies.pairing import draw_order, draw_pairs, draw_side

seeds = st.integers(0, 2**63 - 1)
counts = st.integers(1, 12)


@given(seeds, counts, st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_every_image_is_in_one_pair_at_most_and_versions_get_alike(seed: int, real: int, versions: list[int]) -> None:
    reals = list(range(real))
    synthetic = {f"v{n}": [1000 * (n + 1) + each for each in range(count)] for n, count in enumerate(versions)}
    pairs = draw_pairs(reals, synthetic, seed)
    assert pairs == draw_pairs(reals, synthetic, seed)
    assert len(pairs) == min(real, sum(versions))
    assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    got = Counter(other // 1000 - 1 for _, other in pairs)
    for n, count in enumerate(versions):
        # A version has fewer pairs than another by two or more only if it has no images left.
        assert got[n] == count or got[n] >= max(got.values()) - 1


@given(seeds, counts)
def test_single_images_are_shown_once_each(seed: int, count: int) -> None:
    assert sorted(draw_order(range(count), seed)) == list(range(count))


def test_pairs_depend_on_the_seed_and_any_pair_may_come() -> None:
    drawn = Counter(draw_pairs([0, 1], {"v": [10, 11]}, seed)[0] for seed in range(400))
    assert len(drawn) == 4
    assert min(drawn.values()) > 60  # 100 expected; fewer than 60 has a chance of 1 in 100,000


def test_sides_are_even_and_each_readers_own() -> None:
    sides = [[draw_side(reader, position) for position in range(500)] for reader in (1, 2)]
    assert all(200 < side.count("left") < 300 for side in sides)
    assert 200 < sum(one == other for one, other in zip(*sides, strict=True)) < 300
    assert draw_side(1, 3) == sides[0][3]
