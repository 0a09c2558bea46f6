import datetime as dt

import pytest

from storage.consent import ConsentRecord, Scope
from storage.errors import StorageError

from .conftest import ALICE, BOB, NOW

TEXT = {"text_version": "1", "text_sha256": "0" * 64}
SECOND = dt.timedelta(seconds=1)
ALL_OFF = dict.fromkeys(Scope, False)


async def answer(store, answers, *, now=NOW, member_id=ALICE, interaction_id=900):
    return await store.consents.append(
        member_id, answers, **TEXT, interaction_id=interaction_id, now=now
    )


async def test_someone_never_asked_is_neither_yes_nor_no(store):
    await answer(store, ALL_OFF, member_id=BOB)
    assert await store.consents.current(ALICE) is None
    assert await store.consents.current(BOB) == ALL_OFF


async def test_what_was_not_asked_is_off(store):
    await answer(store, {Scope.REMIX: True})
    assert await store.consents.current(ALICE) == {**ALL_OFF, Scope.REMIX: True}


async def test_the_last_answer_on_each_scope_is_in_force(store):
    await answer(store, dict.fromkeys(Scope, True))
    await answer(store, {Scope.TRAINING: False}, now=NOW + SECOND)
    assert await store.consents.current(ALICE) == {
        Scope.GALLERY: True,
        Scope.REMIX: True,
        Scope.TRAINING: False,
    }


async def test_the_past_stays_as_it_was(store):
    consents = store.consents
    await answer(store, {Scope.REMIX: True})
    await answer(store, {Scope.REMIX: False}, now=NOW + 10 * SECOND)
    assert await consents.as_of(ALICE, NOW - SECOND) is None
    assert await consents.as_of(ALICE, NOW) == {**ALL_OFF, Scope.REMIX: True}
    assert await consents.as_of(ALICE, NOW + 9 * SECOND) == {**ALL_OFF, Scope.REMIX: True}
    assert await consents.as_of(ALICE, NOW + 10 * SECOND) == ALL_OFF
    tokyo = dt.timezone(dt.timedelta(hours=9))
    assert await consents.as_of(ALICE, (NOW + SECOND).astimezone(tokyo)) == {
        **ALL_OFF,
        Scope.REMIX: True,
    }


async def test_every_answer_is_kept_with_the_text_that_was_read(store):
    (record,) = await answer(store, {Scope.GALLERY: True}, interaction_id=2**60)
    assert record == ConsentRecord(
        id=record.id,
        member_id=ALICE,
        scope=Scope.GALLERY,
        given=True,
        given_at=NOW,
        interaction_id=2**60,
        **TEXT,
    )
    again = await answer(store, dict.fromkeys(Scope, False))
    assert await store.consents.history(ALICE) == [record, *again]
    assert await store.consents.history(BOB) == []


async def test_answers_are_recorded_all_or_none(store):
    with pytest.raises(StorageError):
        await store.consents.append(
            ALICE, {Scope.REMIX: True, "mine": True}, **TEXT, interaction_id=1, now=NOW
        )
    assert await store.consents.current(ALICE) is None


async def test_someone_is_asked_again_about_what_the_question_now_means(store):
    asked = {Scope.REMIX: {"0" * 64}, Scope.TRAINING: {"0" * 64}}
    needs = store.consents.needs_answer
    assert await needs(ALICE, asked) == {Scope.REMIX, Scope.TRAINING}
    await answer(store, {Scope.REMIX: True, Scope.TRAINING: False})
    assert await needs(ALICE, asked) == frozenset()
    changed = {**asked, Scope.TRAINING: {"1" * 64}}
    assert await needs(ALICE, changed) == {Scope.TRAINING}
    assert await needs(ALICE, {Scope.TRAINING: {"0" * 64, "1" * 64}}) == frozenset()
    assert await needs(BOB, asked) == {Scope.REMIX, Scope.TRAINING}


async def test_a_yes_to_other_words_allows_nothing(store):
    await answer(store, {Scope.REMIX: True, Scope.TRAINING: True})
    asked = {Scope.REMIX: {"0" * 64}, Scope.TRAINING: {"1" * 64}}
    assert await store.consents.current(ALICE, asked) == {**ALL_OFF, Scope.REMIX: True}


async def test_each_answer_keeps_the_hash_of_its_own_words(store):
    read = {Scope.REMIX: "2" * 64, Scope.TRAINING: "3" * 64}
    records = await store.consents.append(
        ALICE,
        dict.fromkeys(read, True),
        text_version="2",
        text_sha256=read,
        interaction_id=1,
        now=NOW,
    )
    assert {record.scope: record.text_sha256 for record in records} == read
