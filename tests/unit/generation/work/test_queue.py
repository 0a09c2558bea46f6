"""Laws of the queue, one small story each; tests/properties/test_queue.py has the general ones."""

import itertools
import subprocess
import sys
import time

import pytest

from generation.work.queue import LOOKAHEAD_S, MAX_PASSES, FairQueue
from generation.work.tickets import Ticket, Wait


def ticket(job_id, member_id=None, **changes):
    fields = {
        "job_id": job_id,
        "member_id": job_id if member_id is None else member_id,
        "guild_id": 1,
        "cost_s": 1.0,
        "alike": "m/128",
        "model": "m",
        "num_images": 4,
        "max_concurrent": 1,
    }
    return Ticket(**{**fields, **changes})


def queue_of(*tickets):
    queue = FairQueue()
    for each in tickets:
        queue.push(each)
    return queue


def take(queue, loaded_model=None, running=None, max_images=1):
    batch = queue.next_batch(
        loaded_model=loaded_model,
        running=running or {},
        max_images=dict.fromkeys(("m", "other"), max_images),
    )
    return [each.job_id for each in batch]


def test_second_member_is_served_before_first_members_second_job():
    queue = queue_of(ticket(1, 10), ticket(2, 10), ticket(3, 11))
    assert [take(queue) for _ in range(4)] == [[1], [3], [2], []]


def test_a_dear_job_costs_more_turns_than_a_cheap_one():
    dear = [ticket(job_id, 10, cost_s=3.0) for job_id in (1, 2)]
    cheap = [ticket(job_id, 11, cost_s=1.0) for job_id in (3, 4, 5, 6)]
    queue = queue_of(*dear, *cheap)
    assert [take(queue)[0] for _ in range(6)] == [1, 3, 4, 5, 2, 6]


def test_who_comes_back_after_a_pause_has_neither_credit_nor_debt():
    queue = queue_of(*(ticket(job_id, 10) for job_id in range(1, 5)))
    for _ in range(3):
        take(queue)
    queue.push(ticket(5, 11))  # a newcomer starts at the present, not at the beginning
    queue.push(ticket(6, 11))
    assert [take(queue)[0] for _ in range(3)] == [5, 4, 6]


def test_leaving_and_coming_back_does_not_jump_the_line():
    queue = queue_of(ticket(1, 10, cost_s=5.0), ticket(2, 11), ticket(3, 11))
    assert take(queue) == [1]
    queue.push(ticket(4, 10, cost_s=5.0))  # tag 5, although the line was empty
    assert [take(queue)[0] for _ in range(3)] == [2, 3, 4]


def test_a_batch_is_filled_with_jobs_of_the_same_kind_by_different_members():
    queue = queue_of(
        ticket(1, 10, num_images=1),
        ticket(2, 11, num_images=1, alike="m/256"),
        ticket(3, 12, num_images=2),
        ticket(4, 13, num_images=1),
    )
    assert take(queue, max_images=4) == [1, 3, 4]
    assert take(queue, max_images=4) == [2]


def test_other_members_join_a_batch_before_the_same_members_second_job():
    own = [ticket(job_id, 10, num_images=1, max_concurrent=4) for job_id in (1, 2, 3)]
    queue = queue_of(*own, ticket(4, 11, num_images=1))
    assert take(queue, max_images=3) == [1, 4, 2]


def test_a_job_that_does_not_fit_lets_smaller_ones_in_but_not_its_own_members():
    queue = queue_of(
        ticket(1, 10, num_images=2),
        ticket(2, 11, num_images=4, max_concurrent=2),
        ticket(3, 11, num_images=1, max_concurrent=2),
        ticket(4, 12, num_images=1),
    )
    assert take(queue, max_images=4) == [1, 4]


def test_a_job_larger_than_a_batch_is_drawn_alone():
    queue = queue_of(ticket(1, 10, num_images=8), ticket(2, 11, num_images=1))
    assert take(queue, max_images=4) == [1]


def test_a_member_at_its_cap_is_passed_by_and_not_forgotten():
    queue = queue_of(ticket(1, 10), ticket(2, 10), ticket(3, 11))
    assert take(queue, running={10: 1}) == [3]
    assert take(queue, running={10: 1}) == []
    assert take(queue, running={}) == [1]


def test_being_held_at_a_cap_earns_no_credit():
    queue = queue_of(*(ticket(job_id, 10) for job_id in range(1, 6)))
    for job_id in range(11, 15):
        queue.push(ticket(job_id, 11, max_concurrent=9))
    for _ in range(4):
        take(queue, running={10: 1})
    queue.push(ticket(20, 12))
    assert [take(queue)[0] for _ in range(3)] == [1, 20, 2]


def test_a_loaded_model_goes_first_a_bounded_number_of_times():
    others = [ticket(job_id, job_id, model="other", alike="other") for job_id in range(2, 9)]
    queue = queue_of(ticket(1, 1), *others)
    order = [take(queue, loaded_model="other")[0] for _ in range(MAX_PASSES + 1)]
    assert order == [*range(2, 2 + MAX_PASSES), 1]


def test_a_loaded_model_too_far_behind_does_not_go_first():
    queue = queue_of(
        ticket(1, 10, cost_s=2 * LOOKAHEAD_S),
        ticket(2, 10, model="other", alike="other"),
        ticket(3, 11),
    )
    assert take(queue, loaded_model="other") == [1]
    queue.push(ticket(4, 12))
    assert take(queue, loaded_model="other") == [3]


def test_a_cancelled_job_is_not_charged():
    queue = queue_of(ticket(1, 10, cost_s=100.0), ticket(2, 10), ticket(3, 11))
    assert queue.remove(1).job_id == 1
    assert queue.remove(1) is None
    assert 1 not in queue
    assert len(queue) == 2
    assert take(queue) == [2]


def test_an_interrupted_job_is_next_for_its_member_and_uncharged():
    queue = queue_of(ticket(1, 10, cost_s=9.0), ticket(2, 10), ticket(3, 11), ticket(4, 11))
    (interrupted,) = queue.next_batch(loaded_model=None, running={}, max_images={})
    queue.requeue(interrupted)
    assert [take(queue)[0] for _ in range(4)] == [1, 3, 4, 2]


def test_interrupted_jobs_of_one_member_keep_their_order_however_they_return():
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        tickets = [ticket(job_id, 10, num_images=1, max_concurrent=3) for job_id in range(1, 6)]
        queue = queue_of(*tickets)
        batch = queue.next_batch(loaded_model=None, running={}, max_images={"m": 3})
        for index in order:
            queue.requeue(batch[index])
        assert [each.job_id for each in queue.in_order()] == [1, 2, 3, 4, 5]


def test_place_and_wait_count_what_is_ahead_in_fair_order():
    queue = queue_of(
        ticket(1, 10, cost_s=2.0), ticket(2, 10, cost_s=2.0), ticket(3, 11, cost_s=5.0)
    )
    waits = [queue.wait(job_id) for job_id in (1, 3, 2)]
    assert waits == [Wait(1, 0.0, 0.0), Wait(2, 2.0, 2.0), Wait(3, 7.0, 7.0)]
    assert queue.total_cost_s == 9.0
    with pytest.raises(KeyError):
        queue.wait(99)


def test_a_job_waits_only_once():
    queue = queue_of(ticket(1))
    with pytest.raises(ValueError, match="job 1 already waits"):
        queue.push(ticket(1))
    with pytest.raises(ValueError, match="job 1 already waits"):
        queue.requeue(ticket(1))


@pytest.mark.parametrize(
    "changes",
    [
        {"cost_s": 0.0},
        {"cost_s": float("nan")},
        {"cost_s": float("inf")},
        {"num_images": 0},
        {"max_concurrent": 0},
    ],
)
def test_a_ticket_that_could_never_be_served_is_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        ticket(1, **changes)


def test_the_queue_loads_no_torch():
    program = "import sys, generation.work.queue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_two_hundred_accounts_of_one_server_do_not_delay_another_servers_member():
    crowd = [ticket(job_id, guild_id=1, cost_s=30.0) for job_id in range(1, 201)]
    queue = queue_of(*crowd, ticket(201, 5, guild_id=2, cost_s=30.0))
    assert queue.wait(201) == Wait(2, 30.0, 30.0)
    assert [take(queue)[0] for _ in range(4)] == [1, 201, 2, 3]


def test_a_member_has_a_turn_in_each_server_and_one_cap_over_all():
    queue = queue_of(ticket(1, 10, guild_id=1), ticket(2, 10, guild_id=2), ticket(3, 11))
    assert take(queue, running={10: 1}) == [3]


def test_outside_of_servers_is_one_more_server():
    alone = [ticket(job_id, guild_id=None) for job_id in (1, 2, 3)]
    queue = queue_of(*alone, ticket(4, guild_id=1))
    assert [take(queue)[0] for _ in range(4)] == [1, 4, 2, 3]


def test_who_estimates_too_cheaply_gains_one_job_at_most():
    """One picture of a kind nobody uses prices it at a 28th; 39 full ones were asked at that."""
    honest = [
        ticket(100 * member + n, member, cost_s=28.0) for member in range(1, 5) for n in range(40)
    ]
    cheap = [ticket(900 + n, 9, cost_s=1.0) for n in range(39)]
    queue = queue_of(*honest, *cheap)
    used_s = dict.fromkeys((1, 2, 3, 4, 9), 0.0)
    for _ in range(100):
        (taken,) = queue.next_batch(loaded_model="m", running={}, max_images={})
        used_s[taken.member_id] += 28.0
        queue.settle(taken, 28.0)
    assert max(used_s.values()) - min(used_s.values()) <= 28.0


def test_what_an_estimate_asked_too_much_is_given_back():
    queue = queue_of(
        ticket(1, 10, cost_s=50.0), ticket(2, 10), ticket(3, 11), ticket(4, 11), ticket(5, 11)
    )
    (taken,) = queue.next_batch(loaded_model=None, running={}, max_images={})
    queue.settle(taken, 1.5)
    assert [take(queue)[0] for _ in range(4)] == [3, 4, 2, 5]


def test_what_is_settled_after_the_line_is_empty_counts_when_its_member_comes_back():
    queue = queue_of(ticket(1, 10), *(ticket(job_id, 11) for job_id in range(2, 8)))
    (taken,) = queue.next_batch(loaded_model=None, running={}, max_images={})
    queue.settle(taken, 4.5)
    queue.push(ticket(8, 10))
    assert [take(queue)[0] for _ in range(7)] == [2, 3, 4, 5, 6, 8, 7]


def test_a_server_pays_for_what_its_members_really_used():
    queue = queue_of(
        *(ticket(job_id, guild_id=1) for job_id in (1, 2, 3)),
        *(ticket(job_id, guild_id=2) for job_id in (4, 5, 6, 7)),
    )
    (taken,) = queue.next_batch(loaded_model=None, running={}, max_images={})
    queue.settle(taken, 3.5)
    assert [take(queue)[0] for _ in range(6)] == [4, 5, 6, 7, 2, 3]


@pytest.mark.parametrize("real_s", [-1.0, float("nan"), float("inf")])
def test_only_a_time_can_be_settled(real_s):
    queue = queue_of(ticket(1))
    (taken,) = queue.next_batch(loaded_model=None, running={}, max_images={})
    with pytest.raises(ValueError, match="must be 0 or more"):
        queue.settle(taken, real_s)


def test_who_shares_a_batch_may_wait_less_and_is_told_both():
    queue = queue_of(ticket(1, 10, cost_s=8.0, shared_s=2.0), ticket(2, 11), ticket(3, 12))
    assert queue.wait(3) == Wait(3, 3.0, 9.0)


def test_a_running_batch_is_joined_by_what_is_alike_and_fits():
    queue = queue_of(
        ticket(1, 10, num_images=1),
        ticket(2, 11, num_images=1, alike="m/256"),
        ticket(3, 12, num_images=4),
        ticket(4, 13, num_images=2),
        ticket(5, 14, num_images=1),
    )
    joined = queue.fit("m/128", room=3, running={14: 1})
    assert [each.job_id for each in joined] == [1, 4]
    assert queue.fit("m/128", room=0, running={}) == ()
    assert queue.fit("other", room=3, running={}) == ()


def test_those_who_join_overtake_another_kind_a_bounded_number_of_times():
    queue = queue_of(
        ticket(1, alike="m/256"), *(ticket(job_id, num_images=1) for job_id in range(2, 9))
    )
    joined = [queue.fit("m/128", room=1, running={}) for _ in range(MAX_PASSES + 1)]
    assert [len(each) for each in joined] == [1] * MAX_PASSES + [0]
    assert take(queue) == [1]
    assert len(queue.fit("m/128", room=1, running={})) == 1


def test_those_who_join_overtake_a_larger_job_a_bounded_number_of_times():
    queue = queue_of(ticket(1), *(ticket(job_id, num_images=1) for job_id in range(2, 9)))
    joined = [queue.fit("m/128", room=2, running={}) for _ in range(MAX_PASSES + 1)]
    assert [len(each) for each in joined] == [2] * MAX_PASSES + [0]
    assert [each.job_id for each in queue.fit("m/128", room=4, running={})] == [1]


def test_who_joins_is_not_far_behind_its_turn():
    queue = queue_of(
        ticket(1, 10, cost_s=2 * LOOKAHEAD_S, alike="m/256"),
        ticket(2, 10),
        ticket(3, 11, alike="x"),
    )
    assert take(queue) == [1]
    assert queue.fit("m/128", room=4, running={}) == ()
    assert take(queue) == [3]
    assert len(queue.fit("m/128", room=4, running={})) == 1


def test_each_checkpoint_has_its_own_room_in_a_batch():
    tickets = [ticket(job_id, num_images=1) for job_id in range(1, 5)]
    queue = queue_of(*tickets)
    one_by_one = queue.next_batch(loaded_model=None, running={}, max_images={"other": 4})
    together = queue.next_batch(loaded_model=None, running={}, max_images={"m": 2})
    assert [len(one_by_one), len(together)] == [1, 2]


def test_an_estimate_does_not_walk_through_the_line():
    """Forty thousand wait: asking is to walking as one is to hundreds; ten would do."""
    queue = queue_of(*(ticket(job_id, job_id % 1_000) for job_id in range(40_000)))
    last = list(queue.in_order())[-1]
    started_s = time.thread_time()
    place = sum(1 for _ in queue.in_order())
    walked_s = time.thread_time() - started_s
    queue.wait(last.job_id)  # sums are made when they are first asked for
    started_s = time.thread_time()
    assert queue.wait(last.job_id).place == place
    assert time.thread_time() - started_s < walked_s / 10


def test_a_server_whose_others_suit_the_device_still_draws_what_suits_it_less():
    """Another server always has one job that does not suit, so this one's others go first."""
    numbers = itertools.count(1)
    queue = FairQueue()

    def ask(guild_id, model):
        job_id = next(numbers)
        queue.push(ticket(job_id, guild_id=guild_id, model=model, alike=model))
        return job_id

    for model in "ab" * 40:
        ask(1, model)
    patient = ask(1, "c")
    elsewhere, loaded_model, turns = ask(2, "b"), "a", 0
    while patient in queue:
        if elsewhere not in queue:
            elsewhere = ask(2, "b" if loaded_model == "a" else "a")
        ask(1, "a")
        ask(1, "b")
        (drawn,) = queue.next_batch(loaded_model=loaded_model, running={}, max_images={})
        loaded_model, turns = drawn.model, turns + 1
        assert turns <= 2 * 81 + 4 * MAX_PASSES  # eighty stand before it, half the turns are theirs
