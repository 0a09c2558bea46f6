"""Laws of the queue, one small story each; tests/properties/test_queue.py has the general ones."""

import subprocess
import sys

import pytest

from generation.work.queue import LOOKAHEAD_S, MAX_PASSES, FairQueue, Ticket


def ticket(job_id, member_id=None, **changes):
    fields = {
        "job_id": job_id,
        "member_id": job_id if member_id is None else member_id,
        "guild_id": 1,
        "cost_s": 1.0,
        "batch_key": "m/128",
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
        loaded_model=loaded_model, running=running or {}, max_images=max_images
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
        ticket(2, 11, num_images=1, batch_key="m/256"),
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
    others = [ticket(job_id, job_id, model="other", batch_key="other") for job_id in range(2, 9)]
    queue = queue_of(ticket(1, 1), *others)
    order = [take(queue, loaded_model="other")[0] for _ in range(MAX_PASSES + 1)]
    assert order == [*range(2, 2 + MAX_PASSES), 1]


def test_a_loaded_model_too_far_behind_does_not_go_first():
    queue = queue_of(
        ticket(1, 10, cost_s=2 * LOOKAHEAD_S),
        ticket(2, 10, model="other", batch_key="other"),
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
    (interrupted,) = queue.next_batch(loaded_model=None, running={}, max_images=1)
    queue.requeue(interrupted)
    assert [take(queue)[0] for _ in range(4)] == [1, 3, 4, 2]


def test_interrupted_jobs_of_one_member_keep_their_order_however_they_return():
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        tickets = [ticket(job_id, 10, num_images=1, max_concurrent=3) for job_id in range(1, 6)]
        queue = queue_of(*tickets)
        batch = queue.next_batch(loaded_model=None, running={}, max_images=3)
        for index in order:
            queue.requeue(batch[index])
        assert [each.job_id for each in queue.in_order()] == [1, 2, 3, 4, 5]


def test_place_and_wait_count_what_is_ahead_in_fair_order():
    queue = queue_of(
        ticket(1, 10, cost_s=2.0), ticket(2, 10, cost_s=2.0), ticket(3, 11, cost_s=5.0)
    )
    assert [queue.place(job_id) for job_id in (1, 3, 2)] == [1, 2, 3]
    assert [queue.wait_s(job_id) for job_id in (1, 3, 2)] == [0.0, 2.0, 7.0]
    assert queue.total_cost_s == 9.0
    with pytest.raises(KeyError):
        queue.place(99)


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
