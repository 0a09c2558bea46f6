"""A ranking answers what walking through a sorted list answers."""

from hypothesis import given
from hypothesis import strategies as st

from generation.work import ranking
from generation.work.ranking import Ahead, Entry, Ranking

TAGS = st.integers(-3, 30)
# Tag, cost, share of it; the job number is the place in the list.
ROWS = st.lists(st.tuples(TAGS, st.integers(1, 4), st.integers(0, 4)), max_size=60)


def ranking_of(rows, removed):
    made = Ranking()
    kept = {}
    for job_id, (tag_us, cost_us, shared_us) in enumerate(rows):
        made.add(Entry(tag_us, job_id), cost_us=cost_us, shared_us=shared_us)
        kept[Entry(tag_us, job_id)] = (cost_us, shared_us)
    for job_id in removed & set(range(len(rows))):
        entry = Entry(rows[job_id][0], job_id)
        made.remove(entry)
        del kept[entry]
    return made, sorted(kept.items())


def summed(kept):
    return Ahead(
        len(kept), sum(cost for _, (cost, _) in kept), sum(share for _, (_, share) in kept)
    )


@given(ROWS, st.sets(st.integers(0, 60)), TAGS, st.integers(-1, 61))
def test_what_is_ahead_of_a_place_is_what_is_smaller(rows, removed, tag_us, job_id):
    full, ranking.FULL = ranking.FULL, 2  # many buckets, from few entries
    try:
        made, kept = ranking_of(rows, removed)
    finally:
        ranking.FULL = full
    place = Entry(tag_us, job_id)
    assert list(made) == [entry for entry, _ in kept]
    assert bool(made) == bool(kept)
    assert made.ahead_of(place) == summed([row for row in kept if row[0] < place])


@given(ROWS, st.sets(st.integers(0, 60)), st.integers(-3, 120), st.integers(-1, 61))
def test_what_has_begun_by_a_moment_is_what_drawing_one_by_one_begins(
    rows, removed, moment_us, job_id
):
    full, ranking.FULL = ranking.FULL, 2
    try:
        made, kept = ranking_of(rows, removed)
    finally:
        ranking.FULL = full
    begun, now_us = [], 0
    for entry, (cost_us, shared_us) in kept:
        if (now_us, entry.job_id) >= (moment_us, job_id):
            break
        begun.append((entry, (cost_us, shared_us)))
        now_us += cost_us
    assert made.begun_by(Entry(moment_us, job_id)) == summed(begun)
