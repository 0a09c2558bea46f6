"""Laws of what is remembered, over random histories."""

import asyncio
import datetime as dt
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.work.inputs import Input, Role
from generation.work.jobs import FINAL_STATES, TRANSITIONS, JobState, Place
from generation.work.requests.imagine import MAX_SEED, Imagine, WeightedPrompt
from storage.asking import FIRST_STATES, NewJob
from storage.consent import Scope
from storage.disk import ImageFiles
from storage.errors import TransitionRefused
from storage.jobs import NewImage
from storage.rows import to_text, to_time
from storage.store import Store

NOW = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
STATES = st.sampled_from(sorted(JobState))
WORDS = ("fox", "foxglove", "tea", "teacup", "snow", "näive")
OPERATORS = ('"', "OR", "AND", "NOT", "NEAR(", "*", "^", "-", "words:", "{", ")", "\x00", "\ud800")

few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def store(runner):
    with tempfile.TemporaryDirectory() as directory:
        store = runner.run(Store.open(Path(directory)))
        yield store
        runner.run(store.close())


def request_for(prompt="fox"):
    return Imagine(
        prompts=(WeightedPrompt(prompt),),
        model="m",
        seed=1,
        width=64,
        height=64,
        num_inference_steps=1,
        guidance_scale=1.0,
    )


async def new_job(store, *, member_id=1, guild_id=2, state=JobState.QUEUED, text="fox", now=NOW):
    new = NewJob(
        member_id=member_id,
        place=Place(guild_id=guild_id, channel_id=3),
        typed=text,
        request=request_for(text),
        cost_s=1.0,
        state=state,
    )
    return await store.jobs.add(new, now=now)


async def begin(store, job):
    return await store.attempts.begin(job.id, worker="w", lease_until=NOW, now=NOW)


@few
@given(
    first=st.sampled_from(sorted(FIRST_STATES)),
    moves=st.lists(st.tuples(st.sets(STATES, min_size=1, max_size=3), STATES), max_size=20),
)
def test_no_history_leaves_the_transitions_or_ends_twice(runner, store, first, moves):
    async def live():
        job = await new_job(store, state=first)
        state, starts, ends = first, 0, int(first in FINAL_STATES)
        for wanted, to in moves:
            expected = {JobState.QUEUED} if to is JobState.RUNNING else wanted
            is_drawn = all((each, to) in TRANSITIONS for each in expected)
            try:
                if to is JobState.RUNNING:
                    job = await begin(store, job)
                else:
                    job = await store.jobs.move(job.id, expected=expected, to=to, now=NOW)
            except ValueError:
                assert not is_drawn
            except TransitionRefused:
                assert is_drawn
                assert state not in expected
            else:
                assert is_drawn
                assert state in expected
                assert (state, to) in TRANSITIONS
                state = to
                starts += to is JobState.RUNNING
                ends += to in FINAL_STATES
            job = await store.jobs.get(job.id)
            assert (job.state, job.attempts) == (state, 0)  # no worker died
            made = await store.attempts.of_job(job.id)
            assert [attempt.number for attempt in made] == list(range(1, starts + 1))
            going_on = [attempt for attempt in made if attempt.outcome is None]
            assert len(going_on) == (state is JobState.RUNNING)
            assert (job.finished_at is not None) == (state in FINAL_STATES) == (ends == 1)

    runner.run(live())


weights = st.floats(0.1, 100)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
prompts = st.lists(st.builds(WeightedPrompt, texts.filter(str.strip), weights), min_size=1)
fields = {
    "prompts": prompts.map(lambda parts: tuple(parts[:4])),
    "model": texts,
    "seed": st.integers(0, MAX_SEED),
    "width": st.integers(2, 512).map(lambda n: 8 * n),
    "height": st.integers(2, 512).map(lambda n: 8 * n),
    "num_inference_steps": st.integers(1, 150),
    "guidance_scale": st.floats(1, 30),
    "negative_prompt": texts,
    "style": st.none() | texts,
    "num_images": st.integers(1, 5),
    "num_spare": st.integers(0, 3),
}
requests = st.builds(Imagine, **fields) | st.builds(
    Imagine,
    **fields,
    inputs=st.binary(min_size=32, max_size=32).map(lambda sha: (Input(Role.START, sha.hex()),)),
    strength=st.floats(0, 1, exclude_min=True),
)


@few
@given(request=requests, typed=texts, notes=st.lists(texts, max_size=3))
def test_every_request_and_every_typed_text_reads_back_exactly(
    runner, store, request, typed, notes
):
    async def keep():
        new = NewJob(
            member_id=1,
            place=Place(guild_id=None, channel_id=3),
            typed=typed,
            request=request,
            cost_s=1.0,
            notes=notes,
        )
        job = await store.jobs.add(new, now=NOW)
        assert await store.jobs.get(job.id) == job
        assert (job.request, job.typed, job.notes) == (request, typed, tuple(notes))

    runner.run(keep())


@pytest.fixture(scope="module")
def log(runner):
    """Return a store of 300 jobs that differ in everything a search can ask for."""

    async def fill():
        jobs = []
        for number in range(300):
            words = [word for bit, word in enumerate(WORDS) if number * 37 >> bit & 1]
            jobs.append(
                await new_job(
                    store,
                    member_id=1 + number % 3,
                    guild_id=(None, 7, 71)[number % 7 % 3],
                    state=sorted(FIRST_STATES)[number % 5 % 3],
                    text=" ".join(words) or "none",
                    # Mostly rising, now and then set back.
                    now=NOW + dt.timedelta(minutes=number - (number % 10 == 9) * 15),
                )
            )
        return jobs

    with tempfile.TemporaryDirectory() as directory:
        store = runner.run(Store.open(Path(directory)))
        yield store, runner.run(fill())
        runner.run(store.close())


def is_match(job, guild_id, member_id, text, since, state):
    words = job.typed.replace("ä", "a").split()
    *whole, last = text.lower().replace("ä", "a").split() or [""]
    return (
        (guild_id is None or job.place.guild_id == guild_id)
        and (member_id is None or job.member_id == member_id)
        and all(word in words for word in whole)
        and any(word.startswith(last) for word in words)
        and (since is None or job.created_at >= since)
        and (state is None or job.state is state)
    )


@settings(max_examples=150, deadline=None)
@given(
    filters=st.fixed_dictionaries(
        {
            "guild_id": st.sampled_from([None, 7, 71, 8]),
            "member_id": st.sampled_from([None, 1, 2, 9]),
            "text": st.lists(
                st.sampled_from([*WORDS, "FOX", "fo", "t", "te", "snowy"]), max_size=3
            ).map(" ".join),
            "since": st.none() | st.integers(-20, 320).map(lambda n: NOW + dt.timedelta(minutes=n)),
            "state": st.none() | st.sampled_from(sorted(FIRST_STATES)),
        }
    ),
    limit=st.integers(1, 50),
)
def test_search_finds_what_a_look_at_every_job_finds(runner, log, filters, limit):
    store, jobs = log

    async def read():
        found, before = [], None
        while page := await store.jobs.search(**filters, before_id=before, limit=limit):
            found += page
            before = page[-1].id
        return found, await store.jobs.count(**filters)

    found, count = runner.run(read())
    assert found == [job for job in reversed(jobs) if is_match(job, **filters)]
    assert count == len(found)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text()
    | st.lists(st.sampled_from([*OPERATORS, *WORDS]) | st.text(max_size=3)).map(" ".join)
    | st.lists(st.sampled_from(OPERATORS)).map("".join)
)
def test_no_text_makes_a_search_fail(runner, log, text):
    store, _ = log
    found = runner.run(store.jobs.search(guild_id=7, text=text))
    assert all(job.place.guild_id == 7 for job in found)


@few
@given(
    answers=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(list(Scope)), st.booleans(), min_size=1),
            st.integers(0, 5),
        ),
        max_size=6,
    ),
    member_id=st.integers(10, 2**63 - 1),
)
def test_consent_at_any_moment_is_the_answers_given_until_then(runner, store, answers, member_id):
    async def ask():
        asked_before = len(await store.consents.history(member_id))
        if asked_before:
            return
        when, history = NOW, []
        for given_now, wait_s in answers:
            when += dt.timedelta(seconds=wait_s)
            history.append((when, given_now))
            await store.consents.append(
                member_id,
                given_now,
                text_version="1",
                text_sha256="0" * 64,
                interaction_id=1,
                now=when,
            )
        for second in range(-1, 32):
            moment = NOW + dt.timedelta(seconds=second)
            until = [given for given_at, given in history if given_at <= moment]
            expected = dict.fromkeys(Scope, False) if until else None
            for given_then in until:
                expected |= given_then
            assert await store.consents.as_of(member_id, moment) == expected
        assert await store.consents.current(member_id) == expected

    runner.run(ask())


@few
@given(clicks=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), max_size=20))
def test_votes_are_the_members_who_clicked_an_odd_number_of_times(runner, store, clicks):
    async def vote():
        job = await new_job(store)
        await begin(store, job)
        pictures = [
            NewImage(index=index, seed=1, sha256=f"{index:064x}", width=64, height=64)
            for index in range(2)
        ]
        _, images = await store.jobs.record_rendered(
            job.id, images=pictures, fingerprint="{}", elapsed_s=1.0, now=NOW
        )
        voters = [set(), set()]
        for index, member_id in clicks:
            voters[index] ^= {member_id}
            is_given = await store.votes.toggle(images[index].id, member_id, NOW)
            assert is_given == (member_id in voters[index])
        assert list((await store.votes.counts(job.id)).values()) == [len(each) for each in voters]

    runner.run(vote())


@settings(max_examples=25, deadline=None)
@given(pictures=st.lists(st.binary(max_size=200), max_size=3), damage=st.binary(max_size=200))
def test_every_picture_reads_back_and_no_other_bytes_do(pictures, damage):
    with tempfile.TemporaryDirectory() as directory:
        files = ImageFiles(Path(directory))
        names = [files.write(png) for png in pictures]
        assert [files.read(name) for name in names] == pictures
        for name, png in zip(names, pictures, strict=True):
            files.path(name).write_bytes(damage)
            assert damage == png or files.write(png) == name
            assert files.read(name) == png


zones = st.timezones() | st.just(dt.UTC)
times = st.datetimes(
    dt.datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    dt.datetime(9999, 1, 1),  # noqa: DTZ001
    timezones=zones,
)


@given(times, times)
def test_times_as_text_sort_and_read_back_like_times(one, other):
    # Within one zone Python compares wall clocks, which repeat an hour when summer time ends.
    one_utc, other_utc = one.astimezone(dt.UTC), other.astimezone(dt.UTC)
    assert to_time(to_text(one)) == one_utc
    assert (to_text(one) < to_text(other)) == (one_utc < other_utc)
