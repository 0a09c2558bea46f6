"""Real worker processes: killed, hung, cancelled, orphaned, and still drawing."""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from generation.engine import process as processes
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import EMBEDDED, PATTERN, read_checkpoint
from generation.work.errors import (
    CheckpointCorrupt,
    GenerationError,
    InvalidRequest,
    WorkerCrashed,
)
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import (
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
)

PROMPT = "a very secret fox"
REQUEST = Imagine(
    prompts=(WeightedPrompt(PROMPT),),
    model="pattern",
    seed=7,
    width=64,
    height=64,
    num_inference_steps=3,
    guidance_scale=2.0,
    num_images=2,
)
SLOW = dataclasses.replace(REQUEST, model="slow", num_inference_steps=100)
STUCK = dataclasses.replace(REQUEST, model="stuck")
CHECKPOINTS = {
    "pattern": PATTERN,
    "slow": dataclasses.replace(PATTERN, name="slow", source="pattern:0.05"),
    "stuck": dataclasses.replace(PATTERN, name="stuck", source="pattern:3600"),
    "absent": dataclasses.replace(
        PATTERN, name="absent", family="slots", source="nowhere", sha256={"a.safetensors": "0" * 64}
    ),
}


@contextlib.asynccontextmanager
async def supervised(**options):
    supervisor = Supervisor(**{"checkpoints": CHECKPOINTS, "previews": False, **options})
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def render(supervisor, *orders):
    return [event async for event in supervisor.render(orders)]


def finished(events):
    return {e.job_id: e for e in events if not isinstance(e, StepDone | Remarked)}


async def test_a_drawing_reports_its_steps_and_ends_with_pictures():
    async with supervised() as supervisor:
        fingerprint = await supervisor.load("pattern")
        events = await render(
            supervisor, Order(5, REQUEST), Order(6, REQUEST.only_seed(REQUEST.seed_of(1)))
        )
    ends = finished(events)
    steps = [event for event in events if isinstance(event, StepDone) and event.job_id == 5]
    assert [(each.step, each.num_inference_steps) for each in steps] == [(2, 6), (4, 6), (6, 6)]
    assert ends[5].images[1].png == ends[6].images[0].png
    assert ends[5].fingerprint == fingerprint
    assert supervisor.pid is None


async def test_a_worker_without_a_model_is_ready_in_half_a_second():
    async with supervised() as supervisor:
        await supervisor.start()  # once to have its byte code compiled
        await supervisor.stop()
        started_s = time.process_time(), time.monotonic()
        await supervisor.start()
        cpu = psutil.Process(supervisor.pid).cpu_times()
        assert cpu.user + cpu.system < 0.5
        assert time.monotonic() - started_s[1] < 5


async def test_a_worker_killed_while_drawing_is_replaced_by_the_next_render():
    async with supervised() as supervisor:
        events = supervisor.render([Order(1, SLOW)])
        assert isinstance(await anext(events), StepDone)
        os.kill(supervisor.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="-9"):
            async for _ in events:
                pass
        assert isinstance(finished(await render(supervisor, Order(1, REQUEST)))[1], ImagesDone)


async def test_a_worker_gives_way_to_whoever_answers_people():
    async with supervised() as supervisor:
        await supervisor.start()
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, supervisor.pid) > ours


async def test_a_worker_killed_while_idle_costs_no_job():
    async with supervised() as supervisor:
        await supervisor.start()
        killed = supervisor.pid
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(5):  # until the event loop has heard of it
            while supervisor.pid is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert isinstance(finished(await render(supervisor, Order(1, REQUEST)))[1], ImagesDone)
        assert supervisor.pid != killed


async def test_a_hung_worker_is_killed_after_the_step_timeout():
    async with supervised(step_timeout_s=0.4) as supervisor:
        with pytest.raises(WorkerCrashed, match=r"nothing for 0\.4 s"):
            await render(supervisor, Order(1, STUCK))
        assert isinstance(finished(await render(supervisor, Order(2, REQUEST)))[2], ImagesDone)


async def test_a_stopped_process_counts_as_hung():
    async with supervised(step_timeout_s=0.4) as supervisor:
        await supervisor.start()
        os.kill(supervisor.pid, signal.SIGSTOP)
        with pytest.raises(WorkerCrashed, match="nothing"):
            await render(supervisor, Order(1, REQUEST))


async def test_loading_another_checkpoint_has_the_time_of_a_start():
    async with supervised(step_timeout_s=5) as supervisor:
        events = await render(
            supervisor, Order(1, dataclasses.replace(SLOW, num_inference_steps=2))
        )
        assert isinstance(finished(events)[1], ImagesDone)


async def test_a_cancelled_job_stops_at_the_next_step_and_its_batch_mate_goes_on():
    mate = dataclasses.replace(SLOW, seed=1, num_inference_steps=8)
    one = dataclasses.replace(mate, seed=2)
    async with supervised() as supervisor:
        steps, ends = [], {}
        async for event in supervisor.render([Order(1, one), Order(2, mate)]):
            if isinstance(event, StepDone) and event.job_id == 1:
                steps.append(event.step)
                if event.step == 4:
                    supervisor.cancel(1)
            elif not isinstance(event, StepDone | Remarked):
                ends[event.job_id] = event
    assert steps[-1] <= 6
    assert ends[1] == OrderCancelled(1)
    assert isinstance(ends[2], ImagesDone)


async def test_a_cancel_of_an_ended_job_does_not_stop_its_second_life():
    async with supervised() as supervisor:
        await render(supervisor, Order(1, REQUEST))
        supervisor.cancel(1)
        assert isinstance(finished(await render(supervisor, Order(1, REQUEST)))[1], ImagesDone)


async def test_a_consumer_that_leaves_early_cancels_what_is_left():
    async with supervised() as supervisor:
        events = supervisor.render([Order(1, SLOW)])
        await anext(events)
        pid = supervisor.pid
        await events.aclose()
        started_s = time.monotonic()
        assert isinstance(finished(await render(supervisor, Order(1, REQUEST)))[1], ImagesDone)
        assert supervisor.pid == pid
        assert time.monotonic() - started_s < 2  # the 100 slow steps would take 5


async def test_a_cancelled_task_leaves_the_pipe_in_step():
    async with supervised() as supervisor:
        await supervisor.start()
        for delay_s in (0.01, 0.06, 0.11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await render(supervisor, Order(1, SLOW))
        events = await render(supervisor, Order(1, REQUEST))
        assert len(finished(events)[1].images) == 2


async def test_stopping_ends_the_process_in_the_middle_of_a_step():
    supervisor = Supervisor(checkpoints=CHECKPOINTS)
    await supervisor.start()
    pid = supervisor.pid
    drawing = asyncio.create_task(render(supervisor, Order(1, STUCK)))
    await asyncio.sleep(0.1)
    await supervisor.stop()
    with pytest.raises(WorkerCrashed, match="stopped"):
        await drawing
    assert not psutil.pid_exists(pid)
    await supervisor.stop()  # twice is fine


async def test_a_checkpoint_that_cannot_be_loaded_fails_its_job_and_not_the_worker():
    async with supervised() as supervisor:
        await supervisor.start()
        pid = supervisor.pid
        (event,) = await render(supervisor, Order(1, dataclasses.replace(REQUEST, model="absent")))
        assert (event.job_id, event.kind) == (1, "CheckpointCorrupt")
        assert isinstance(finished(await render(supervisor, Order(2, REQUEST)))[2], ImagesDone)
        assert supervisor.pid == pid


async def test_a_broken_default_checkpoint_stops_only_its_own_orders():
    broken_first = {"absent": CHECKPOINTS["absent"], "pattern": PATTERN}
    async with supervised(checkpoints=broken_first) as supervisor:
        with pytest.raises(CheckpointCorrupt, match=r"a\.safetensors"):
            await supervisor.load("absent")
        orders = [Order(n, REQUEST) for n in (1, 3)]
        orders.append(Order(2, dataclasses.replace(REQUEST, model="absent")))
        ends = finished(await render(supervisor, *orders))
    assert [type(ends[n]) for n in (1, 2, 3)] == [ImagesDone, OrderFailed, ImagesDone]


async def test_a_device_that_is_not_there_is_told_at_the_start_and_counts_as_no_crash():
    async with supervised(device="mps") as supervisor:
        with pytest.raises(InvalidRequest, match="device"):
            await supervisor.start()
        assert supervisor._crashes == 0


async def test_an_order_the_checkpoint_cannot_draw_fails_with_its_kind():
    async with supervised() as supervisor:
        wrong = dataclasses.replace(REQUEST, style="cubist")
        ends = finished(await render(supervisor, Order(1, wrong), Order(2, REQUEST)))
    assert (type(ends[1]), ends[1].kind) == (OrderFailed, "InvalidRequest")
    assert isinstance(ends[2], ImagesDone)


async def test_crash_after_crash_waits_longer_before_it_starts_again():
    waits_s = []
    async with supervised() as supervisor:
        for _ in range(4):
            started_s = time.monotonic()
            await supervisor.start()
            waits_s.append(time.monotonic() - started_s)
            os.kill(supervisor.pid, signal.SIGKILL)
            with pytest.raises(GenerationError):
                await render(supervisor, Order(1, REQUEST))
    assert waits_s[2] > 0.9
    assert waits_s[3] > 1.9
    assert waits_s[1] < waits_s[2]


async def test_prompts_never_reach_the_log(caplog):
    caplog.set_level(logging.INFO)
    async with supervised() as supervisor:
        wrong = dataclasses.replace(REQUEST, style="cubist")
        await render(supervisor, Order(1, REQUEST), Order(2, wrong))
        events = supervisor.render([Order(3, SLOW)])
        await anext(events)
        os.kill(supervisor.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed):
            await anext(events)
    assert "worker.ready" in caplog.messages
    assert "worker.crashed" in caplog.messages
    assert not [r for r in caplog.records if "secret" in repr(vars(r))]


async def test_every_wait_for_the_worker_is_declared_one_at_a_time():
    declared, depth = [], itertools.count()
    inside = set()

    async def outside(awaitable, what):
        task = asyncio.current_task()
        assert task not in inside
        inside.add(task)
        declared.append(what)
        next(depth)
        try:
            return await awaitable
        finally:
            inside.discard(task)

    async with supervised(outside=outside) as supervisor:
        await render(supervisor, Order(1, REQUEST))
    assert set(declared) == {"the drawing worker"}
    assert len(declared) > 5


@pytest.mark.slow
async def test_the_embedded_checkpoint_draws_the_same_files_in_every_process():
    checkpoint = read_checkpoint(EMBEDDED)
    request = dataclasses.replace(
        REQUEST,
        prompts=(WeightedPrompt("a fox on a wugglepump"),),
        model=checkpoint.name,
        width=checkpoint.width,
        height=checkpoint.height,
    )
    drawn = []
    for orders in (
        (request,),
        (dataclasses.replace(request, seed=3), request.only_seed(request.seed_of(1))),
    ):
        async with supervised(checkpoints={"a": PATTERN, checkpoint.name: checkpoint}) as worker:
            numbered = [Order(job_id, order) for job_id, order in enumerate(orders)]
            events = await render(worker, *numbered)
            drawn.append(finished(events)[len(orders) - 1])
            if len(orders) == 1:
                (remarked,) = [event for event in events if isinstance(event, Remarked)]
    assert drawn[0].images[1].png == drawn[1].images[0].png
    assert drawn[0].fingerprint == drawn[1].fingerprint
    assert [each.word for each in remarked.remarks] == ["wugglepump"]


async def collected(supervisor, events, until):
    """Take events from the stream until one satisfies."""
    taken = []
    async for event in events:
        taken.append(event)
        if until(event):
            return taken
    raise AssertionError(f"the stream ended after {taken}")


async def test_an_order_joins_what_is_being_drawn_and_is_ready_before_it():
    async with supervised() as supervisor:
        events = supervisor.events()
        long = dataclasses.replace(SLOW, num_images=1, num_inference_steps=20)
        await supervisor.admit(Order(1, long))
        await collected(supervisor, events, lambda e: isinstance(e, StepDone) and e.step == 2)
        await supervisor.admit(Order(2, dataclasses.replace(long, num_inference_steps=3)))
        taken = await collected(supervisor, events, lambda e: isinstance(e, ImagesDone))
        assert taken[-1].job_id == 2
        assert supervisor.drawing == {1}
        last = max(e.step for e in taken if isinstance(e, StepDone) and e.job_id == 1)
        assert last < 9  # it went on beside the other, not after it
        await collected(supervisor, events, lambda e: e.job_id == 1 and isinstance(e, Remarked))
        assert supervisor.drawing == frozenset()


async def test_an_order_cancelled_while_its_worker_still_starts_is_never_drawn():
    async with supervised() as supervisor:
        events = supervisor.events()
        admitting = asyncio.create_task(supervisor.admit(Order(1, SLOW)))
        await asyncio.sleep(0)
        supervisor.cancel(1)
        await admitting
        assert await anext(events) == OrderCancelled(1)


async def test_every_order_of_a_killed_worker_is_told_as_lost_and_may_be_given_again():
    async with supervised() as supervisor:
        events = supervisor.events()
        for job_id in (1, 2):
            await supervisor.admit(Order(job_id, SLOW))
        await collected(supervisor, events, lambda e: isinstance(e, StepDone))
        os.kill(supervisor.pid, signal.SIGKILL)
        taken = await collected(
            supervisor, events, lambda e: isinstance(e, OrderLost) and e.job_id == 2
        )
        assert [e.job_id for e in taken if isinstance(e, OrderLost)] == [1, 2]
        await supervisor.admit(Order(1, REQUEST))
        await collected(supervisor, events, lambda e: isinstance(e, ImagesDone))


async def test_the_stream_of_events_ends_when_the_worker_is_stopped():
    async with supervised() as supervisor:
        await supervisor.admit(Order(1, SLOW))
        events = supervisor.events()
        await anext(events)
        await supervisor.stop()
        *_, last = [event async for event in events]
        assert isinstance(last, OrderLost)


SLOW_LOADER = """
import time
from generation.techniques.pattern import Pattern

def slow(self, checkpoint, init=Pattern.__init__):
    time.sleep({load_s})
    init(self, checkpoint)

Pattern.__init__ = slow
import generation.engine.worker as worker
worker.SIGN_OF_LIFE_S = 0.2
import sys
sys.exit(worker.main())
"""


@pytest.fixture
def slow_loader(monkeypatch):
    """Have workers take so many seconds for every load."""

    def take(load_s):
        command = (sys.executable, "-c", SLOW_LOADER.format(load_s=load_s))
        monkeypatch.setattr(processes, "COMMAND", command)

    return take


async def test_a_load_may_take_longer_than_any_silence_while_it_tells_signs_of_life(slow_loader):
    slow_loader(3.0)
    async with supervised(step_timeout_s=1.5, start_timeout_s=30) as supervisor:
        assert isinstance(finished(await render(supervisor, Order(1, REQUEST)))[1], ImagesDone)


async def test_a_load_that_never_ends_ends_after_its_own_limit(slow_loader):
    slow_loader(3600)
    async with supervised(load_timeout_s=1.0, start_timeout_s=30) as supervisor:
        with pytest.raises(WorkerCrashed, match="nothing"):
            await render(supervisor, Order(1, REQUEST))


UNKILLABLE = """
import os, sys, time
if os.fork() == 0:
    time.sleep(15)  # holds the pipe open, as what a broken driver holds for ever does
    os._exit(0)
sys.stdin.buffer.read()
"""


async def test_a_worker_that_does_not_end_when_killed_is_left_behind(monkeypatch):
    monkeypatch.setattr(processes, "GIVE_UP_S", 0.3)
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", UNKILLABLE))
    async with supervised(start_timeout_s=0.5) as supervisor:
        started_s = time.monotonic()
        with pytest.raises(WorkerCrashed, match="nothing"):
            await supervisor.start()
        assert time.monotonic() - started_s < 10
        assert supervisor.pid is None


async def test_a_worker_sees_the_hubs_token_and_never_the_bots(monkeypatch):
    for name in ("DISCORD_TOKEN", "ATELIER_DISCORD_TOKEN", "discord_token", "HF_TOKEN"):
        monkeypatch.setenv(name, f"of {name}")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    async with supervised() as supervisor:
        await supervisor.start()
        seen = psutil.Process(supervisor.pid).environ()
    assert seen["HF_TOKEN"].startswith("of")
    assert "TOKENIZERS_PARALLELISM" in seen
    assert not {name for name in seen if name.upper().endswith("DISCORD_TOKEN")}


BROKEN_DEVICE = """
from generation.techniques.pattern import Pattern
from generation.work.results import EngineFingerprint

def broken(self, slots):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")

Pattern.step = broken
Pattern.fingerprint = property(lambda self: EngineFingerprint({"device": "cuda"}))
import generation.engine.worker as worker
import logging, os
status = worker.main()
logging.shutdown()
os._exit(status)
"""


async def test_a_broken_device_ends_its_process_and_the_next_one_draws(monkeypatch):
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", BROKEN_DEVICE))
    async with supervised() as supervisor:
        (end,) = finished(await render(supervisor, Order(1, REQUEST))).values()
        assert end.kind == "DrawingFailed"
        assert "illegal" not in end.message
        async with asyncio.timeout(10):
            while supervisor.pid is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        assert isinstance(finished(await render(supervisor, Order(2, REQUEST)))[2], ImagesDone)


PARENT = """
import asyncio, sys
from generation.work.checkpoints import PATTERN
from generation.engine.supervisor import Supervisor

async def main():
    supervisor = Supervisor(checkpoints={"pattern": PATTERN})
    await supervisor.start()
    print(supervisor.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("is_stuck", [False, True])
def test_a_worker_dies_with_the_bot_however_the_bot_died(is_stuck):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        if is_stuck:  # cannot even notice that its pipe is closed
            worker.suspend()
        parent.kill()
        psutil.wait_procs([worker], timeout=5)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
