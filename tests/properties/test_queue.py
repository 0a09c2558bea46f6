"""Laws of the queue that hold for every history of pushing, serving and cancelling."""

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from generation.work.queue import LOOKAHEAD_TICKETS, MAX_PASSES, FairQueue
from generation.work.tickets import Ticket, Wait

MEMBERS = st.integers(1, 6)
COSTS = st.sampled_from([0.1, 0.25, 1.0, 1.5, 4.0, 30.0])
KINDS = st.sampled_from(["a/128", "a/256", "b/128"])
MAX_IMAGES = 4
ROOM = {"a": MAX_IMAGES, "b": MAX_IMAGES}
GUILDS = st.sampled_from([None, 1, 2])


@st.composite
def ticket_lists(draw, largest_cap=3, guilds=GUILDS):
    count = draw(st.integers(1, 40))
    return [
        Ticket(
            job_id=job_id,
            member_id=draw(MEMBERS),
            guild_id=draw(guilds),
            cost_s=(cost_s := draw(COSTS)),
            shared_s=draw(st.sampled_from([None, cost_s / 4])),
            alike=(kind := draw(KINDS)),
            model=kind[0],
            num_images=draw(st.integers(1, 5)),
            max_concurrent=draw(st.integers(1, largest_cap)),
        )
        for job_id in range(1, count + 1)
    ]


def queue_of(tickets):
    queue = FairQueue()
    for ticket in tickets:
        queue.push(ticket)
    return queue


def serve_all(queue, max_images=None, loaded_model=None):
    max_images = ROOM if max_images is None else max_images
    batches = []
    while batch := queue.next_batch(loaded_model=loaded_model, running={}, max_images=max_images):
        batches.append(batch)
        loaded_model = loaded_model and batch[0].model
    return batches


@given(ticket_lists(), st.sampled_from([None, "a", "b"]))
def test_every_ticket_is_served_exactly_once(tickets, loaded_model):
    batches = serve_all(queue_of(tickets), loaded_model=loaded_model)
    served = Counter(ticket.job_id for batch in batches for ticket in batch)
    assert served == Counter(ticket.job_id for ticket in tickets)


@given(ticket_lists(), st.sampled_from([None, "a", "b"]))
def test_the_same_history_gives_the_same_order(tickets, loaded_model):
    histories = [serve_all(queue_of(tickets), loaded_model=loaded_model) for _ in range(2)]
    assert histories[0] == histories[1]


@given(ticket_lists(), st.dictionaries(MEMBERS, st.integers(0, 3)), st.sampled_from([None, "a"]))
def test_it_is_work_conserving_and_respects_caps(tickets, running, loaded_model):
    queue = queue_of(tickets)
    heads = {}
    for ticket in tickets:
        heads.setdefault((ticket.guild_id, ticket.member_id), ticket)
    batch = queue.next_batch(loaded_model=loaded_model, running=running, max_images=ROOM)
    can_run = [t for t in heads.values() if running.get(t.member_id, 0) < t.max_concurrent]
    assert bool(batch) == bool(can_run)
    at_work = Counter(running)
    for ticket in batch:
        at_work[ticket.member_id] += 1
        assert at_work[ticket.member_id] <= ticket.max_concurrent


@given(ticket_lists())
def test_batches_are_of_one_kind_and_fit(tickets):
    for batch in serve_all(queue_of(tickets)):
        assert len({ticket.alike for ticket in batch}) == 1
        assert len(batch) == 1 or sum(ticket.num_images for ticket in batch) <= MAX_IMAGES


@given(ticket_lists())
def test_a_members_own_jobs_are_served_in_the_order_of_asking(tickets):
    served = [t for batch in serve_all(queue_of(tickets), loaded_model="a") for t in batch]
    lines = {}
    for ticket in served:
        lines.setdefault((ticket.guild_id, ticket.member_id), []).append(ticket.job_id)
    assert all(line == sorted(line) for line in lines.values())


def check_waits(queue):
    """The quick answer for each ticket is the one that walking through everything gives."""
    ahead_us, shared_us = 0, 0
    for place, ticket in enumerate(queue.in_order(), start=1):
        assert queue.wait(ticket.job_id) == Wait(place, shared_us / 1e6, ahead_us / 1e6)
        ahead_us, shared_us = ahead_us + ticket.cost_us, shared_us + ticket.shared_us


@given(ticket_lists())
def test_order_and_wait_tell_how_it_will_be_served(tickets):
    queue = queue_of(tickets)
    queue.next_batch(loaded_model=None, running={}, max_images=ROOM)
    order = list(queue.in_order())
    check_waits(queue)
    served = [ticket for batch in serve_all(queue, max_images={}) for ticket in batch]
    assert [ticket.job_id for ticket in served] == [ticket.job_id for ticket in order]


@given(st.lists(COSTS, min_size=2, max_size=60), st.lists(COSTS, min_size=2, max_size=60))
def test_two_backlogged_members_get_the_same_cost_within_one_job_each(costs, other_costs):
    lines = {1: costs, 2: other_costs}
    tickets = [
        Ticket(
            job_id=1000 * member + index,
            member_id=member,
            guild_id=1,
            cost_s=cost_s,
            alike="a",
            model="a",
            num_images=1,
        )
        for member, line in lines.items()
        for index, cost_s in enumerate(line)
    ]
    queue = queue_of(tickets)
    got_s = {1: 0.0, 2: 0.0}
    waiting = {member: len(line) for member, line in lines.items()}
    bound_s = max(costs) + max(other_costs)  # Goyal et al., theorem 1
    while all(waiting.values()):
        (ticket,) = queue.next_batch(loaded_model=None, running={}, max_images={})
        got_s[ticket.member_id] += ticket.cost_s
        waiting[ticket.member_id] -= 1
        assert abs(got_s[1] - got_s[2]) <= bound_s + 1e-9


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.lists(COSTS, min_size=2, max_size=60),
    st.lists(COSTS, min_size=2, max_size=60),
    st.floats(0.05, 20.0),
)
def test_two_servers_get_the_same_real_cost_however_many_ask_and_whatever_was_estimated(
    members, other_members, real_s, other_real_s, optimism
):
    queue = FairQueue()
    real = {1: dict(enumerate(real_s, 1000)), 2: dict(enumerate(other_real_s, 2000))}
    for guild_id, each_s in real.items():
        for job_id, cost_s in each_s.items():
            queue.push(
                Ticket(
                    job_id=job_id,
                    member_id=10 * guild_id + job_id % {1: members, 2: other_members}[guild_id],
                    guild_id=guild_id,
                    cost_s=cost_s * optimism if guild_id == 1 else cost_s,
                    alike="a",
                    model="a",
                    num_images=1,
                )
            )
    got_s = {1: 0.0, 2: 0.0}
    waiting = {guild_id: len(each_s) for guild_id, each_s in real.items()}
    bound_s = max(1.0, optimism) * max(real_s) + max(other_real_s)
    while all(waiting.values()):
        (ticket,) = queue.next_batch(loaded_model=None, running={}, max_images={})
        cost_s = real[ticket.guild_id][ticket.job_id]
        queue.settle(ticket, cost_s)
        got_s[ticket.guild_id] += cost_s
        waiting[ticket.guild_id] -= 1
        assert abs(got_s[1] - got_s[2]) <= bound_s + 1e-3


@given(
    st.integers(0, 30),
    st.integers(1, 3),
    st.lists(COSTS, min_size=40, max_size=40),
    st.sampled_from([None, "a", "b"]),
)
def test_forty_jobs_of_one_member_delay_anothers_first_by_a_bounded_time(
    served_before, max_concurrent, costs, loaded_model
):
    queue = queue_of(
        Ticket(
            job_id=index,
            member_id=1,
            guild_id=1,
            cost_s=cost_s,
            alike="a",
            model="a",
            num_images=4,
            max_concurrent=max_concurrent,
        )
        for index, cost_s in enumerate(costs)
    )
    for _ in range(served_before):
        queue.next_batch(loaded_model=loaded_model, running={}, max_images=ROOM)
    queue.push(
        Ticket(
            job_id=100,
            member_id=2,
            guild_id=1,
            cost_s=1.0,
            alike="b",
            model="b",
            num_images=4,
        )
    )
    others = 0
    while queue.next_batch(loaded_model=loaded_model, running={}, max_images=ROOM)[0].job_id != 100:
        others += 1
    # One job may have the same tag; a loaded model may go first MAX_PASSES times.
    assert others <= (MAX_PASSES + 1 if loaded_model == "a" else 1)


@given(ticket_lists(largest_cap=1, guilds=st.just(1)), st.sampled_from(["a", "b"]))
def test_a_loaded_model_never_overtakes_by_more_than_the_lookahead(tickets, loaded_model):
    queue = queue_of(tickets)
    passed = Counter()
    while len(queue):
        order = list(queue.in_order())
        heads = []
        for ticket in order:
            if ticket.member_id not in {head.member_id for head in heads}:
                heads.append(ticket)
        first = queue.next_batch(loaded_model=loaded_model, running={}, max_images={})[0]
        assert heads.index(first) < LOOKAHEAD_TICKETS
        if first is not heads[0]:
            assert first.model == loaded_model
            passed[heads[0].job_id] += 1
    assert max(passed.values(), default=0) <= MAX_PASSES


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60), st.integers(1, 4))
def test_nobody_starves_however_many_others_keep_coming(arrivals, per_turn):
    queue = FairQueue()
    numbers = itertools.count(1)

    def ask(member_id, model):
        number = next(numbers)
        queue.push(
            Ticket(
                job_id=number,
                member_id=member_id,
                guild_id=1,
                cost_s=1.0,
                alike=model,
                model=model,
                num_images=1,
            )
        )
        return number

    for member, is_loaded in arrivals:
        ask(member, "a" if is_loaded else "b")
    patient = ask(999, "b")
    waiting_before = len(queue)
    newcomers = itertools.count(1000)
    turns = 0
    while patient in queue:
        for _ in range(per_turn):  # new members, all for the loaded model
            ask(next(newcomers), "a")
        queue.next_batch(loaded_model="a", running={}, max_images={})
        turns += 1
        assert turns <= (MAX_PASSES + 1) * (waiting_before + 1)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_nobody_starves_however_many_join_what_is_being_drawn(
    per_turn, room, num_images, is_other_kind
):
    """A batch of kind a is joined whenever it can be, and new ones of its kind keep coming."""
    queue = FairQueue()
    numbers = itertools.count(1)

    def ask(member_id, kind, num_images):
        number = next(numbers)
        queue.push(
            Ticket(
                job_id=number,
                member_id=member_id,
                guild_id=member_id % 2,
                cost_s=1.0,
                alike=kind,
                model="a",
                num_images=num_images,
            )
        )
        return number

    patient = ask(999, "b" if is_other_kind else "a", num_images)
    drawn_before = 0
    for turn in itertools.count():
        for newcomer in range(per_turn):
            ask(1000 + per_turn * turn + newcomer, "a", 1)
        drawn = queue.fit("a", room=room, running={}) or queue.next_batch(
            loaded_model="a", running={}, max_images={"a": room}
        )
        if patient not in queue:
            break
        drawn_before += len(drawn)
        # Its own server's others go first MAX_PASSES times; by as much, then, may another server.
        assert drawn_before <= 3 * (MAX_PASSES + 1) * room


ARRIVALS = st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 2))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(ARRIVALS, min_size=1, max_size=4), min_size=1, max_size=12),
    st.integers(1, 4),
    st.booleans(),
)
def test_nobody_starves_in_a_server_whose_others_suit_the_device_better(crowds, room, is_joined):
    """New members keep coming to three servers, in a rhythm that suits the loaded model or not."""
    queue = FairQueue()
    numbers = itertools.count(1)

    def ask(guild_id, model, num_images):
        number = next(numbers)
        queue.push(
            Ticket(
                job_id=number,
                member_id=number,
                guild_id=guild_id,
                cost_s=1.0,
                alike=model,
                model=model,
                num_images=num_images,
            )
        )
        return number

    patient = ask(1, "c", 2)
    loaded_model, turns = None, 0
    for crowd in itertools.cycle(crowds):
        for guild_id, model, num_images in crowd:
            ask(guild_id, model, num_images)
        drawn = is_joined and queue.fit(loaded_model, room=room, running={})
        drawn = drawn or queue.next_batch(
            loaded_model=loaded_model, running={}, max_images=dict.fromkeys("abc", room)
        )
        if patient not in queue:
            break
        loaded_model, turns = drawn[0].model, turns + 1
        # Its server is ahead by what went first; then two others come to where it is.
        assert turns <= 4 * (MAX_PASSES + 1) * room


class History(RuleBasedStateMachine):
    """Any order of pushing, serving, cancelling and interrupting, against plain bookkeeping."""

    def __init__(self):
        super().__init__()
        self.queue = FairQueue()
        self.waiting = {}
        self.running = []
        self.numbers = itertools.count(1)

    @rule(
        member=MEMBERS,
        guild=GUILDS,
        cost_s=COSTS,
        kind=KINDS,
        images=st.integers(1, 5),
        cap=st.integers(1, 3),
    )
    def push(self, member, guild, cost_s, kind, images, cap):
        ticket = Ticket(
            job_id=next(self.numbers),
            member_id=member,
            guild_id=guild,
            cost_s=cost_s,
            shared_s=cost_s / images,
            alike=kind,
            model=kind[0],
            num_images=images,
            max_concurrent=cap,
        )
        self.queue.push(ticket)
        self.waiting[ticket.job_id] = ticket

    @rule(loaded_model=st.sampled_from([None, "a", "b"]))
    def serve(self, loaded_model):
        at_work = Counter(ticket.member_id for ticket in self.running)
        batch = self.queue.next_batch(loaded_model=loaded_model, running=at_work, max_images=ROOM)
        for ticket in batch:
            assert self.waiting.pop(ticket.job_id) == ticket
            self.running.append(ticket)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice):
        job_id = choice.choice(sorted(self.waiting))
        assert self.queue.remove(job_id) == self.waiting.pop(job_id)

    @rule(kind=KINDS, room=st.integers(0, 4))
    def join(self, kind, room):
        at_work = Counter(ticket.member_id for ticket in self.running)
        joined = self.queue.fit(kind, room=room, running=at_work)
        assert sum(ticket.num_images for ticket in joined) <= room
        for ticket in joined:
            assert ticket.alike == kind
            at_work[ticket.member_id] += 1
            assert at_work[ticket.member_id] <= ticket.max_concurrent
            assert self.waiting.pop(ticket.job_id) == ticket
            self.running.append(ticket)

    @precondition(lambda self: self.running)
    @rule(is_interrupted=st.booleans(), real_s=COSTS)
    def end(self, is_interrupted, real_s):
        ticket = self.running.pop(0)
        if not is_interrupted:
            self.queue.settle(ticket, real_s)
            return
        self.queue.requeue(ticket)
        self.waiting[ticket.job_id] = ticket
        line = ticket.guild_id, ticket.member_id
        own = [t.job_id for t in self.queue.in_order() if (t.guild_id, t.member_id) == line]
        older = own[: own.index(ticket.job_id)]
        assert all(job_id < ticket.job_id for job_id in older)

    @invariant()
    def the_queue_holds_exactly_what_waits(self):
        assert len(self.queue) == len(self.waiting)
        assert {ticket.job_id: ticket for ticket in self.queue.in_order()} == self.waiting
        assert all(job_id in self.queue for job_id in self.waiting)
        costs_us = (ticket.cost_us for ticket in self.waiting.values())
        assert self.queue.total_cost_s == sum(costs_us) / 1e6

    @invariant()
    def what_waits_is_told_exactly(self):
        check_waits(self.queue)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
