import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from generation.learning.metrics.preference import rank, table
from generation.work.comparisons import (
    LOSS,
    TIE,
    WIN,
    Comparison,
    ShownPicture,
    from_votes,
)

NAMES = ("a", "b", "c", "d")


def duels(first, second, *, wins=0, losses=0, ties=0):
    scores = [WIN] * wins + [LOSS] * losses + [TIE] * ties
    return [Comparison(first, second, score) for score in scores]


def tournament(strengths, count, rng):
    pairs = list(itertools.combinations(range(len(strengths)), 2))
    chosen = rng.integers(len(pairs), size=count)
    answers = []
    for i, j in (pairs[k] for k in chosen):
        share = 1 / (1 + math.exp(strengths[j] - strengths[i]))
        answers.append(Comparison(NAMES[i], NAMES[j], WIN if rng.random() < share else LOSS))
    return answers


def strengths_of(ranking):
    return {standing.name: standing.strength.value for standing in ranking.standings}


def test_two_players_follow_the_closed_form():
    wins, losses = 30, 10
    ranking = rank(duels("a", "b", wins=wins, losses=losses), prior=1e-6)
    lead = math.log(wins / losses)
    margin = 1.959963984540054 * math.sqrt(1 / wins + 1 / losses)
    best, worst = ranking.standings
    assert (best.name, worst.name) == ("a", "b")
    assert best.strength.value - worst.strength.value == pytest.approx(lead, rel=1e-5)
    # Each of two centred strengths is half of the lead.
    assert best.strength.high - best.strength.low == pytest.approx(margin, rel=1e-5)
    share = ranking.win_share("a", "b")
    assert share.value == pytest.approx(wins / (wins + losses), rel=1e-5)
    assert share.low == pytest.approx(1 / (1 + math.exp(margin - lead)), rel=1e-5)
    assert share.high == pytest.approx(1 / (1 + math.exp(-margin - lead)), rel=1e-5)


def test_strengths_are_the_maximum_that_another_optimiser_finds():
    rng = np.random.default_rng(3)
    answers = tournament((1.0, 0.3, -0.2, -1.1), 150, rng) + duels("a", "d", ties=9)
    prior = 0.5

    def loss(theta):
        of = dict(zip(NAMES, theta, strict=True))
        total = 0.0
        for each in answers:
            lead = of[each.first] - of[each.second]
            total += each.score * math.log1p(math.exp(-lead))
            total += (1 - each.score) * math.log1p(math.exp(lead))
        for strength in theta:
            total += prior * (math.log1p(math.exp(-strength)) + math.log1p(math.exp(strength)))
        return total

    found = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    expected = dict(zip(NAMES, found - found.mean(), strict=True))
    assert strengths_of(rank(answers, prior)) == pytest.approx(expected, abs=1e-5)


def test_strengths_are_where_hunters_mm_algorithm_ends():
    answers = tournament((0.8, 0.0, -0.4, 0.1), 200, np.random.default_rng(5))
    wins = np.zeros((4, 4))
    for each in answers:
        i, j = NAMES.index(each.first), NAMES.index(each.second)
        wins[i, j] += each.score
        wins[j, i] += 1 - each.score
    games, skill = wins + wins.T, np.ones(4)
    for _ in range(2000):  # Hunter 2004, equation 3
        skill = wins.sum(axis=1) / (games / (skill[:, None] + skill[None, :])).sum(axis=1)
    log_skill = np.log(skill) - np.log(skill).mean()
    expected = dict(zip(NAMES, log_skill, strict=True))
    assert strengths_of(rank(answers, prior=1e-7)) == pytest.approx(expected, abs=1e-4)


def test_intervals_are_as_wide_as_resampling_says():
    rng = np.random.default_rng(7)
    answers = tournament((0.7, 0.2, -0.3, -0.6), 600, rng)
    resampled = [
        strengths_of(rank([answers[k] for k in rng.integers(len(answers), size=len(answers))]))
        for _ in range(200)
    ]
    for standing in rank(answers).standings:
        spread = np.std([strengths[standing.name] for strengths in resampled], ddof=1)
        margin = (standing.strength.high - standing.strength.low) / 2
        assert margin == pytest.approx(1.96 * spread, rel=0.2)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(11)
    truth = (0.6, 0.1, -0.2, -0.5)
    held = [
        standing.strength.low <= truth[NAMES.index(standing.name)] <= standing.strength.high
        for _ in range(150)
        for standing in rank(tournament(truth, 300, rng)).standings
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_unbeaten_and_never_compared_with_each_other_stay_finite():
    ranking = rank([*duels("a", "b", wins=40), *duels("c", "d", wins=1)])
    assert [math.isfinite(s.strength.high) for s in ranking.standings] == [True] * 4
    a_to_c = ranking.win_share("a", "c")
    assert a_to_c.low < 0.2
    assert a_to_c.high > 0.8


def test_ties_are_half_wins():
    tied = rank(duels("a", "b", ties=20))
    split = rank(duels("a", "b", wins=10, losses=10))
    assert strengths_of(tied) == strengths_of(split) == pytest.approx({"a": 0.0, "b": 0.0})
    assert tied.win_share("a", "b") == split.win_share("a", "b")


@given(
    st.lists(
        st.tuples(st.permutations(NAMES), st.sampled_from([WIN, TIE, LOSS])),
        min_size=1,
        max_size=30,
    )
)
def test_neither_order_nor_side_of_an_answer_matters(drawn):
    answers = [Comparison(names[0], names[1], score) for names, score in drawn]
    mirrored = [Comparison(c.second, c.first, 1 - c.score) for c in reversed(answers)]
    ours, theirs = strengths_of(rank(answers)), strengths_of(rank(mirrored))
    assert ours == pytest.approx(theirs, abs=1e-7)
    assert sum(ours.values()) == pytest.approx(0, abs=1e-7)


def test_nothing_compared_is_an_empty_ranking():
    assert rank([]).standings == ()
    assert table(rank([])) == "nothing was compared yet"


def test_the_table_names_each_with_its_lead_over_the_next():
    ranking = rank(duels("new", "old", wins=15, losses=5))
    header, first, second = table(ranking).splitlines()
    share = ranking.win_share("new", "old")
    assert first.split()[:2] == ["1", "new"]
    assert "15/20" in first
    assert f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})" in first
    assert second.split()[:2] == ["2", "old"]
    assert "preferred to the next" in header


@pytest.mark.parametrize(("first", "second", "score"), [("a", "a", WIN), ("a", "b", 1.5)])
def test_a_comparison_is_between_two_and_worth_one_point(first, second, score):
    with pytest.raises(ValueError, match=r"itself|score"):
        Comparison(first, second, score)


def test_a_prior_of_nothing_is_refused():
    with pytest.raises(ValueError, match="prior"):
        rank(duels("a", "b", wins=1), prior=0.0)


def shown(checkpoint, *voters, occasion="fox", drawn_for=99):
    return ShownPicture(occasion, checkpoint, drawn_for, frozenset(voters))


def test_a_member_is_one_judge_however_many_pictures_they_voted_for():
    pictures = [shown("a", 1, 2), shown("a", 1), shown("b", 2), shown("b")]
    assert from_votes(pictures) == [Comparison("a", "b", WIN), Comparison("a", "b", TIE)]


def test_votes_are_counted_per_picture_shown():
    pictures = [shown("a", 1), shown("b", 1), shown("b"), shown("b"), shown("b")]
    assert from_votes(pictures) == [Comparison("a", "b", WIN)]


def test_three_checkpoints_on_one_occasion_give_the_pairs_a_judge_said_something_about():
    pictures = [shown("c", 1), shown("a"), shown("b")]
    assert from_votes(pictures) == [Comparison("a", "c", LOSS), Comparison("b", "c", LOSS)]


@pytest.mark.parametrize(
    "pictures",
    [
        [shown("a", 1, 2), shown("a")],
        [shown("a", 1), shown("b", 1, occasion="owl")],
        [shown("a"), shown("b")],
        [shown("a", 2, drawn_for=1), shown("b", 1, drawn_for=2)],
    ],
    ids=["one checkpoint", "other words", "no votes", "those whose pictures compete"],
)
def test_what_says_nothing_about_checkpoints_is_ignored(pictures):
    assert from_votes(pictures) == []
