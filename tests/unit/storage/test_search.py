import datetime as dt
import importlib
import itertools
import re

import pytest

from generation.work.inputs import Role
from generation.work.jobs import JobState
from storage.consent import Scope
from storage.files import FileKind
from storage.moderation import ActionKind
from storage.outbox import MessageKind, MessageState
from storage.search import COUNT_LIMIT, FORGET_WORDS, SEARCH_EVERY, SEARCH_MATCHING, Filters
from storage.settings import COSTS
from storage.steps import Outcome

from .conftest import ALICE, BOB, GUILD, NOW, request_for

FILTERS = {
    "guild_id": GUILD,
    "person_id": 1,
    "text": "fox te",
    "since": NOW,
    "state": JobState.POSTED,
}


MODULES = (
    "asking", "attempts", "consent", "files", "images", "jobs", "moderation", "outbox", "rows",
    "search", "settings", "steps", "votes",
)  # fmt: skip


async def plan_of(database, sql, params):
    rows = await database.all(f"EXPLAIN QUERY PLAN {sql}", params)
    return [row["detail"] for row in rows]


def scans(plan):
    """The full table scans in a plan; posting lists, JSON arrays and counters are no tables."""
    return [
        step
        for step in plan
        if step.startswith("SCAN")
        and not re.match(
            r"SCAN (json_each|prompts) VIRTUAL TABLE|SCAN CONSTANT ROW|SCAN sqlite_seq", step
        )
        and not step.startswith("SCAN (subquery")
    ]


@pytest.mark.parametrize(
    "names", [names for n in range(6) for names in itertools.combinations(FILTERS, n)]
)
async def test_no_search_scans_or_sorts_the_jobs(store, names):
    filters = Filters(**{name: FILTERS[name] for name in names})
    sql = SEARCH_EVERY if filters.match() is None else SEARCH_MATCHING
    plan = await plan_of(store.database, sql, filters.params(before_id=None, limit=10))
    assert not scans(plan), plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
    if filters.match() is not None:
        assert any(step.startswith("SCAN prompts VIRTUAL TABLE INDEX") for step in plan), plan
        assert any("SEARCH jobs USING INTEGER PRIMARY KEY" in step for step in plan), plan


async def test_no_statement_of_the_package_scans_a_table(store):
    seen = 0
    for name in MODULES:
        module = importlib.import_module(f"storage.{name}")
        for key, sql in vars(module).items():
            is_statement = key.isupper() and isinstance(sql, str) and not key.startswith("_")
            if not is_statement or not re.match(r"\s*(SELECT|UPDATE|DELETE)", sql) or sql == COSTS:
                continue
            names = re.findall(r"(?<!:):([a-z_0-9]+)", sql)
            params = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
            if names:
                params |= {"match": "fox", "expected": "[]", "since": "a"}
                params |= {"names": "[]", "images": "[]"}
            plan = await plan_of(store.database, sql, params)
            assert not scans(plan), (name, key, plan)
            seen += 1
    assert seen > 25


async def found(scene, **filters):
    filters.setdefault("guild_id", GUILD)
    return [job.typed for job in await scene.store.jobs.search(**filters)]


async def test_newest_come_first_and_pages_join_without_gap_or_repeat(scene):
    ids = [(await scene.job(f"fox {number}")).id for number in range(25)]
    pages, before = [], None
    while page := await scene.store.jobs.search(guild_id=GUILD, text="fox", before_id=before):
        assert len(page) <= 10
        pages += [job.id for job in page]
        before = pages[-1]
    assert pages == ids[::-1]


async def test_words_are_found_in_the_typed_the_parsed_and_the_negative_prompt(scene):
    await scene.job(
        typed="a {red, green} fox --no blur",
        request=request_for("a green fox", negative_prompt="Schärfe"),
    )
    for text in ("green fox", "{red", "--no", "scharfe", "SCHÄR", "fox gre", '"green fox"'):
        assert await found(scene, text=text), text
    for text in ("green owl", "een", "embedded", "queued", f"g{GUILD}", "squeued"):
        assert not await found(scene, text=text), text


async def test_only_the_last_word_may_be_a_beginning(scene):
    await scene.job("portrait of a dragonfly")
    assert await found(scene, text="portrait drag")
    assert not await found(scene, text="port dragonfly")


@pytest.mark.parametrize(
    "text",
    ['" OR *', "NEAR(", "fox NOT tea", "words:fox", "^fox", "{words", "a AND", "*", "'", '"', "\\",
     "-", "🦊", "\x00", "fox\x00", "\ud800", "\u200b", "\u202e", "(", "facets : g21", "+", "fox +",
     "--", "%", "a" * 5000, "🦊 " * 500],
)  # fmt: skip
async def test_what_looks_like_query_syntax_is_only_text(scene, text):
    await scene.job("owl in the snow")
    assert await found(scene, text=text) == []
    assert await scene.store.jobs.count(guild_id=GUILD, text=text) == 0


@pytest.mark.parametrize("text", [None, "", "  ", "\u3000\n"])
async def test_text_without_a_word_filters_nothing(scene, text):
    await scene.job("owl")
    assert await found(scene, text=text) == ["owl"]


async def test_operators_in_a_prompt_can_be_searched_for(scene):
    await scene.job('fox OR owl NEAR "tea"')
    assert await found(scene, text="OR NEAR tea")


async def test_a_changed_state_is_found_under_its_new_state_only(scene):
    job = await scene.job("fox")
    await scene.begin(job)
    assert await found(scene, text="fox", state=JobState.RUNNING) == ["fox"]
    assert await found(scene, text="fox", state=JobState.QUEUED) == []


async def test_a_server_sees_only_its_own_jobs(scene):
    await scene.job("fox here")
    await scene.job("fox there", guild_id=GUILD * 10 + 1)
    await scene.job("fox in private", guild_id=None)
    assert await found(scene, text="fox") == ["fox here"]
    assert len(await found(scene, guild_id=None, text="fox")) == 3
    assert len(await found(scene, guild_id=None)) == 3


async def test_a_member_filter_does_not_match_a_longer_number(scene):
    await scene.job("fox", member_id=ALICE * 10)
    await scene.job("owl", member_id=BOB)
    assert await found(scene, member_id=ALICE) == []
    assert await found(scene, member_id=BOB) == ["owl"]


async def test_since_includes_its_moment_and_survives_a_clock_set_back(scene):
    for text, minutes in (("first", 0), ("ahead", 60), ("set back", 30), ("last", 61)):
        await scene.job(text, now=NOW + dt.timedelta(minutes=minutes))
    since = NOW + dt.timedelta(minutes=60)
    assert await found(scene, since=since) == ["last", "ahead"]
    assert await found(scene, since=NOW + dt.timedelta(hours=9)) == []
    assert await scene.store.jobs.count(guild_id=GUILD, since=since) == 2


async def test_count_stops_at_its_limit(scene):
    await scene.job("fox")
    async with scene.store.database.transaction() as connection:
        columns = (
            "submission, person_id, guild_id, typed, prompt, negative_prompt, request, notes,"
            " state, cost_s, created_at"
        )
        await connection.executemany(
            f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs WHERE id = ?",  # noqa: S608
            [(1,)] * (COUNT_LIMIT + 50),
        )
    assert await scene.store.jobs.count(guild_id=GUILD, text="fox") == COUNT_LIMIT
    assert await scene.store.jobs.count(guild_id=None) == COUNT_LIMIT
    assert await scene.store.jobs.count(guild_id=GUILD, text="owl") == 0


async def test_the_index_agrees_with_the_jobs_after_every_kind_of_change(scene):
    job = await scene.job("fox")
    await scene.store.jobs.move(job.id, expected=JobState.QUEUED, to=JobState.FAILED, now=NOW)
    gone = await scene.job("owl")
    async with scene.store.database.transaction() as connection:
        await connection.execute("UPDATE jobs SET typed = '', prompt = '' WHERE id = ?", (job.id,))
        await connection.execute("DELETE FROM messages WHERE job_id = ?", (gone.id,))
        await connection.execute("DELETE FROM jobs WHERE id = ?", (gone.id,))
        await connection.execute(
            "INSERT INTO prompts (prompts, rank) VALUES ('integrity-check', 1)"
        )
    assert await found(scene, text="fox") == []
    assert await found(scene, text="owl") == []
    assert await found(scene, state=JobState.FAILED) == [""]


@pytest.mark.parametrize(
    ("typed", "parts", "strangers"),
    [
        (
            "红色的狐狸在雪地里 --style 3d",
            ["狐狸", "红色", "雪地里", "狐", "色的狐"],
            ["狸狐", "猫"],
        ),
        ("赤いキツネとたぬき", ["キツネ", "赤い", "たぬき", "ネとた"], ["ツキ", "犬"]),
        ("สุนัขจิ้งจอกสีแดง", ["จิ้งจอก", "สุนัข", "แดง"], ["แมว", "จอกจิ้ง"]),
        ("빨간여우가 눈밭에서", ["여우", "빨간", "눈밭"], ["고양이", "우여"]),
        ("𠮷野家 fox猫", ["𠮷野", "猫", "fox", "fox猫", "fo"], ["野猫", "家fox"]),
    ],
)
async def test_any_part_of_a_word_without_spaces_is_found(scene, typed, parts, strangers):
    await scene.job("a fox and an owl")
    job = await scene.job(typed)
    for text in parts:
        ids = [each.id for each in await scene.store.jobs.search(guild_id=GUILD, text=text)]
        assert job.id in ids, text
    for text in strangers:
        assert not await found(scene, text=text), text


async def test_parts_of_two_words_are_no_word(scene):
    await scene.job("红狐 狸猫", request=request_for("红狐 狸猫", negative_prompt="雪人"))
    assert await found(scene, text="红狐")
    assert await found(scene, text="狸猫 雪")
    assert not await found(scene, text="狐狸")
    assert not await found(scene, text="猫雪")


async def test_latin_prompts_take_no_room_for_letters(scene):
    job = await scene.job("a föx, 2 owls – “quoted” 🦊")
    row = await scene.store.database.one("SELECT letters FROM jobs WHERE id = ?", (job.id,))
    assert row["letters"] is None


async def test_forgotten_words_leave_nothing_in_the_file(store, scene):
    job = await scene.job("zyxxyword secretname")
    await scene.job("a fox")
    async with store.database.transaction() as connection:
        await connection.execute(
            "UPDATE jobs SET typed = '', prompt = '', request = '{}' WHERE id = ?", (job.id,)
        )
        await connection.execute(FORGET_WORDS)
    path = store.database.path
    await store.close()
    assert not any(
        word in file.read_bytes()
        for word in (b"zyxxyword", b"secretname")
        for file in path.parent.glob(f"{path.name}*")
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM votes WHERE person_id = ?",
        "SELECT 1 FROM reports WHERE reporter_id = ?",
        "SELECT 1 FROM moderation_actions WHERE moderator_id = ?",
        "SELECT 1 FROM moderation_actions WHERE person_id = ?",
        "SELECT 1 FROM consents WHERE person_id = ?",
        "SELECT 1 FROM files WHERE person_id = ?",
        "SELECT 1 FROM messages WHERE recipient_id = ?",
        "SELECT 1 FROM images JOIN jobs ON jobs.id = images.job_id WHERE jobs.person_id = ?",
        "SELECT 1 FROM job_inputs WHERE sha256 = ?",
    ],
)
async def test_everything_of_one_person_is_found_without_a_scan(store, sql):
    plan = await plan_of(store.database, sql, (1,))
    assert not scans(plan), plan


async def test_names_that_the_code_knows_are_those_of_the_record(store):
    known = {
        "job_states": JobState,
        "attempt_outcomes": Outcome,
        "input_roles": Role,
        "file_kinds": FileKind,
        "message_kinds": MessageKind,
        "message_states": MessageState,
        "consent_scopes": Scope,
        "action_kinds": ActionKind,
    }
    for table, names in known.items():
        rows = await store.database.all(f"SELECT name FROM {table}")  # noqa: S608
        assert {row["name"] for row in rows} == set(names), table
