"""Splits: who may see what, and that a new source does not reshuffle."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.dataset.split import Splitting, assign
from generation.learning.dataset.stored import Split

SHARES = st.floats(0, 0.5)
SETTINGS = st.builds(
    Splitting, unseen_pairs=SHARES, unseen_concepts=SHARES, scorer_pairs=SHARES, salt=st.text()
)
PAIRS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("VWXYZ")), max_size=60)


def drawn(
    pairs: list[tuple[str, str]], settings: Splitting
) -> tuple[dict[tuple[str, str], Split], dict[tuple[str, str], bool]]:
    splits, hidden = assign([c for c, _ in pairs], [k for _, k in pairs], settings)
    return dict(zip(pairs, splits, strict=True)), dict(zip(pairs, hidden, strict=True))


@given(pairs=PAIRS, settings=SETTINGS)
def test_each_concept_is_wholly_unseen_or_keeps_two_looks_to_learn_from(
    pairs: list[tuple[str, str]], settings: Splitting
) -> None:
    splits, hidden = drawn(pairs, settings)
    of_concept: dict[str, list[Split]] = defaultdict(list)
    shown_to_scorer: dict[str, list[bool]] = defaultdict(list)
    for (concept, look), split in splits.items():
        of_concept[concept].append(split)
        shown_to_scorer[concept].append(not hidden[concept, look])
    for concept, found in of_concept.items():
        if Split.UNSEEN_CONCEPT in found:
            assert set(found) == {Split.UNSEEN_CONCEPT}
        elif len(found) < 3:
            assert set(found) == {Split.TRAIN}
        else:
            assert found.count(Split.TRAIN) >= 2
        assert sum(shown_to_scorer[concept]) >= min(2, len(found))


@given(pairs=PAIRS, settings=SETTINGS)
def test_an_unseen_pair_has_a_known_concept_and_a_known_look(
    pairs: list[tuple[str, str]], settings: Splitting
) -> None:
    splits, _ = drawn(pairs, settings)
    known = [pair for pair, split in splits.items() if split is Split.TRAIN]
    for (concept, look), split in splits.items():
        if split is Split.UNSEEN_PAIR:
            assert concept in {c for c, _ in known}
            assert look in {k for _, k in known}


@given(pairs=PAIRS, settings=SETTINGS, order=st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(
    pairs: list[tuple[str, str]], settings: Splitting, order: random.Random
) -> None:
    shuffled = pairs + pairs[:5]
    order.shuffle(shuffled)
    assert drawn(shuffled, settings) == drawn(pairs, settings)


@given(pairs=PAIRS, salt=st.text())
def test_no_shares_means_everything_is_for_everyone(
    pairs: list[tuple[str, str]], salt: str
) -> None:
    splits, hidden = drawn(pairs, Splitting(salt=salt))
    assert set(splits.values()) <= {Split.TRAIN}
    assert not any(hidden.values())


def many(looks: str) -> list[tuple[str, str]]:
    return [(f"thing {i}", look) for i in range(400) for look in looks]


def test_a_new_source_reshuffles_nothing() -> None:
    settings = Splitting(unseen_pairs=0.1, unseen_concepts=0.05, scorer_pairs=0.1)
    before, scorer_before = drawn(many("VWXY"), settings)
    after, scorer_after = drawn(many("VWXYZ"), settings)
    # What was hidden stays hidden: a checkpoint trained before is still judged on unseen things.
    assert all(after[pair] is split for pair, split in before.items() if split is not Split.TRAIN)
    assert all(scorer_after[pair] for pair, is_hidden in scorer_before.items() if is_hidden)
    # A fifth look lets a concept hide a third pair; with these shares that is hardly ever drawn.
    newly = sum(after[pair] is not split for pair, split in before.items())
    assert newly <= 0.005 * len(before)


def test_shares_are_kept_and_lots_are_independent() -> None:
    settings = Splitting(unseen_pairs=0.1, unseen_concepts=0.1, scorer_pairs=0.2)
    splits, hidden = drawn(many("VWXYZ"), settings)
    count = len(splits)
    concepts = {c for (c, _), split in splits.items() if split is Split.UNSEEN_CONCEPT}
    pairs = sum(split is Split.UNSEEN_PAIR for split in splits.values())
    assert 0.05 * 400 < len(concepts) < 0.15 * 400
    assert 0.07 < pairs / count < 0.11
    both = sum(hidden[pair] and split is Split.UNSEEN_PAIR for pair, split in splits.items())
    assert 0.1 < both / pairs < 0.3


def test_another_salt_draws_other_lots() -> None:
    first, _ = drawn(many("VWXYZ"), Splitting(unseen_pairs=0.2))
    second, _ = drawn(many("VWXYZ"), Splitting(unseen_pairs=0.2, salt="other"))
    assert first != second


def test_more_than_half_cannot_be_hidden() -> None:
    with pytest.raises(ValueError, match="unseen_pairs"):
        Splitting(unseen_pairs=0.6)
