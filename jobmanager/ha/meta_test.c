#include "jobmanager/ha/meta.h"

#include <check.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

static struct weir_ha_record rec(enum weir_ha_kind kind, uint64_t epoch, const char *job)
{
    return (struct weir_ha_record){.kind = kind, .epoch = epoch, .at_ms = 1000, .job_id = job};
}

static enum weir_meta_change lead(struct weir_meta *meta, uint64_t epoch)
{
    struct weir_ha_record r = rec(WEIR_HA_LEADER, epoch, "");
    r.u.leader.node = "n";
    return weir_meta_apply(meta, &r);
}

static enum weir_meta_change submit(struct weir_meta *meta, uint64_t epoch, const char *job, const char *name)
{
    struct weir_ha_record r = rec(WEIR_HA_SUBMIT, epoch, job);
    r.u.submit.name = name;
    r.u.submit.text_hash[0] = 7;
    r.u.submit.graph = weir_slice("gra\0ph", 6);
    return weir_meta_apply(meta, &r);
}

static enum weir_meta_change attempt_at(struct weir_meta *meta, uint64_t epoch, const char *job, uint32_t number, uint32_t drain_of, bool sources,
                                        const uint32_t *regions, uint32_t nregions)
{
    static const char *const tms[] = {"tm-a", "tm-b"};
    static const struct weir_ha_split splits[] = {{{(const uint8_t *)"s0", 2}, {(const uint8_t *)"\0d", 2}}, {{(const uint8_t *)"s1", 2}, {NULL, 0}}};
    static const struct weir_ha_source source = {.vertex = 0, .splits = splits, .nsplits = 2};
    struct weir_ha_record r = rec(WEIR_HA_ATTEMPT, epoch, job);
    r.u.attempt.attempt = number;
    r.u.attempt.drain_of = drain_of;
    r.u.attempt.slot_tm_ids = tms;
    r.u.attempt.nslots = 2;
    r.u.attempt.has_sources = sources;
    r.u.attempt.sources = &source;
    r.u.attempt.nsources = sources ? 1 : 0;
    struct weir_ha_region named[4];
    for (uint32_t i = 0; i < nregions; i++) { /* region 1 has one slot, others two, somewhere else in each attempt */
        named[i] = (struct weir_ha_region){.region = regions[i], .tm_ids = number % 2 == 0 ? tms : &tms[1], .ntms = number % 2 == 0 && regions[i] != 1 ? 2 : 1};
    }
    r.u.attempt.regions = named;
    r.u.attempt.nregions = nregions;
    r.u.attempt.nslots = nregions == 0 ? 2 : 0;
    const struct weir_meta_job *present = weir_meta_job(meta, weir_slice_str(job));
    const struct weir_meta_ckpt *newest_ckpt = present == NULL ? NULL : weir_meta_ckpt_newest(present);
    r.u.attempt.restore_checkpoint_id = newest_ckpt == NULL ? 0 : newest_ckpt->id;
    struct weir_buf bytes = {0}; /* through the codec, as in life */
    weir_ha_encode(&r, &bytes);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&bytes), arena, &r, &err), WEIR_OK);
    enum weir_meta_change change = weir_meta_apply(meta, &r);
    weir_arena_destroy(arena);
    weir_buf_fini(&bytes);
    return change;
}

static enum weir_meta_change attempt_of(struct weir_meta *meta, uint64_t epoch, const char *job, uint32_t number, uint32_t drain_of, bool sources)
{
    return attempt_at(meta, epoch, job, number, drain_of, sources, NULL, 0);
}

static enum weir_meta_change attempt(struct weir_meta *meta, uint64_t epoch, const char *job, uint32_t number, bool sources)
{
    return attempt_of(meta, epoch, job, number, 0, sources);
}

static enum weir_meta_change checkpoint(struct weir_meta *meta, uint64_t epoch, const char *job, enum weir_ha_kind kind, uint32_t number, uint64_t id)
{
    struct weir_ha_record r = rec(kind, epoch, job);
    if (kind == WEIR_HA_CKPT_BEGIN) {
        r.u.ckpt_begin.attempt = number;
        r.u.ckpt_begin.id = id;
    } else if (kind == WEIR_HA_CKPT_ABORT) {
        r.u.ckpt_abort.attempt = number;
        r.u.ckpt_abort.id = id;
        r.u.ckpt_abort.text = "why";
    } else {
        r.u.ckpt_complete.attempt = number;
        r.u.ckpt_complete.id = id;
        r.u.ckpt_complete.path = "/c/_metadata";
        r.u.ckpt_complete.bytes = 77;
        r.u.ckpt_complete.hash = UINT64_MAX;
        r.u.ckpt_complete.last = id % 2 == 0;
        r.u.ckpt_complete.state_bytes = 5;
        r.u.ckpt_complete.began_ms = -1;
        r.u.ckpt_complete.retained_max = 2;
    }
    struct weir_buf bytes = {0}; /* through the codec, as in life */
    weir_ha_encode(&r, &bytes);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&bytes), arena, &r, &err), WEIR_OK);
    enum weir_meta_change change = weir_meta_apply(meta, &r);
    weir_arena_destroy(arena);
    weir_buf_fini(&bytes);
    return change;
}

static enum weir_meta_change state_with(struct weir_meta *meta, uint64_t epoch, const char *job, enum weir_meta_state to, uint32_t number, bool skip_drain)
{
    struct weir_ha_record r = rec(WEIR_HA_JOB_STATE, epoch, job);
    r.u.job_state.state = to;
    r.u.job_state.attempt = number;
    r.u.job_state.text = to == WEIR_META_FAILED || to == WEIR_META_FAILING ? "cause" : to == WEIR_META_CANCELED && number % 2 == 1 ? "undrained" : "";
    r.u.job_state.skip_drain = skip_drain;
    struct weir_buf bytes = {0}; /* through the codec, as in life */
    weir_ha_encode(&r, &bytes);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&bytes), arena, &r, &err), WEIR_OK);
    enum weir_meta_change change = weir_meta_apply(meta, &r);
    weir_arena_destroy(arena);
    weir_buf_fini(&bytes);
    return change;
}

static enum weir_meta_change state(struct weir_meta *meta, uint64_t epoch, const char *job, enum weir_meta_state to, uint32_t number)
{
    return state_with(meta, epoch, job, to, number, false);
}

static enum weir_meta_change drop(struct weir_meta *meta, uint64_t epoch, const char *job)
{
    struct weir_ha_record r = rec(WEIR_HA_JOB_DROP, epoch, job);
    return weir_meta_apply(meta, &r);
}

static enum weir_meta_change member(struct weir_meta *meta, uint64_t epoch, uint64_t id, uint64_t incarnation, const char *rest, bool removed)
{
    struct weir_ha_record r = rec(WEIR_HA_JOBMANAGER, epoch, "");
    r.u.jobmanager.id = id;
    r.u.jobmanager.incarnation = incarnation;
    r.u.jobmanager.rpc_address = "127.0.0.1:6123";
    r.u.jobmanager.rest_address = rest;
    r.u.jobmanager.removed = removed;
    struct weir_buf bytes = {0}; /* through the codec, as in life */
    weir_ha_encode(&r, &bytes);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&bytes), arena, &r, &err), WEIR_OK);
    enum weir_meta_change change = weir_meta_apply(meta, &r);
    weir_arena_destroy(arena);
    weir_buf_fini(&bytes);
    return change;
}

START_TEST(records_of_another_epoch_do_nothing)
{
    struct weir_meta *meta = weir_meta_create();
    ck_assert_int_eq(submit(meta, 1, "j1", "a"), WEIR_META_IGNORED);
    ck_assert_int_eq(lead(meta, 3), WEIR_META_LED);
    ck_assert_int_eq(lead(meta, 3), WEIR_META_IGNORED);
    ck_assert_int_eq(lead(meta, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(submit(meta, 2, "j1", "a"), WEIR_META_IGNORED);
    ck_assert_int_eq(submit(meta, 4, "j1", "a"), WEIR_META_IGNORED);
    ck_assert_int_eq(submit(meta, 3, "j1", "a"), WEIR_META_SUBMITTED);
    lead(meta, 4);
    ck_assert_int_eq(attempt(meta, 3, "j1", 1, true), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 4, "j1", 1, true), WEIR_META_ATTEMPTED);
    weir_meta_destroy(meta);
}
END_TEST

START_TEST(a_jobs_life_is_conditional_and_idempotent)
{
    struct weir_meta *meta = weir_meta_create();
    lead(meta, 1);
    ck_assert_int_eq(submit(meta, 1, "j1", "a"), WEIR_META_SUBMITTED);
    ck_assert_int_eq(submit(meta, 1, "j1", "a"), WEIR_META_IGNORED);
    ck_assert_int_eq(submit(meta, 1, "j2", "a"), WEIR_META_IGNORED); /* (M4) */
    ck_assert_int_eq(attempt(meta, 1, "j1", 2, true), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 1, true), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 1, true), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 2, false), WEIR_META_ATTEMPTED);
    const struct weir_meta_job *job = weir_meta_job(meta, weir_slice_str("j1"));
    ck_assert_uint_eq(job->nsources, 1); /* kept from the first attempt */
    ck_assert(weir_slice_eq(job->sources[0].splits[0].data, weir_slice("\0d", 2)));
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_FINISHED, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELED, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(drop(meta, 1, "j1"), WEIR_META_IGNORED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELLING, 0), WEIR_META_STATE_CHANGED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELLING, 0), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 3, false), WEIR_META_IGNORED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_FINISHED, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELED, 2), WEIR_META_STATE_CHANGED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_FAILED, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(submit(meta, 1, "j2", "a"), WEIR_META_SUBMITTED); /* the name is free again */
    ck_assert_int_eq(drop(meta, 1, "j1"), WEIR_META_DROPPED);
    ck_assert_ptr_null(weir_meta_job(meta, weir_slice_str("j1")));
    ck_assert_uint_eq(weir_meta_job_count(meta), 1);
    weir_meta_destroy(meta);
}
END_TEST

/* (M5), (M6) */
START_TEST(checkpoints_are_conditional_and_idempotent)
{
    struct weir_meta *meta = weir_meta_create();
    lead(meta, 1);
    submit(meta, 1, "j1", "a");
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 0, 1), WEIR_META_IGNORED); /* no attempt */
    attempt(meta, 1, "j1", 1, true);
    const struct weir_meta_job *job = weir_meta_job(meta, weir_slice_str("j1"));
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 1), WEIR_META_CKPT_BEGUN);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 2), WEIR_META_IGNORED); /* one at a time */
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_ABORT, 2, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_ABORT, 1, 1), WEIR_META_CKPT_ABORTED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 1), WEIR_META_IGNORED); /* never again */
    for (uint64_t id = 2; id <= 4; id++) {
        ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, id), WEIR_META_CKPT_BEGUN);
        ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, id), WEIR_META_CKPT_COMPLETED);
        ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, id), WEIR_META_IGNORED);
    }
    ck_assert_uint_eq(job->nckpts, 2);
    ck_assert_uint_eq(job->ckpts[0].id, 3);
    ck_assert_uint_eq(weir_meta_ckpt_newest(job)->hash, UINT64_MAX);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 5), WEIR_META_CKPT_BEGUN);
    struct weir_ha_record older = rec(WEIR_HA_ATTEMPT, 1, "j1");
    older.u.attempt.attempt = 2;
    older.u.attempt.restore_checkpoint_id = 3;
    ck_assert_int_eq(weir_meta_apply(meta, &older), WEIR_META_IGNORED); /* (M6) */
    ck_assert_int_eq(attempt(meta, 1, "j1", 2, false), WEIR_META_ATTEMPTED);
    ck_assert_uint_eq(job->restored_ckpt_id, 4);
    ck_assert_uint_eq(job->pending_ckpt_id, 0);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 5), WEIR_META_IGNORED); /* of an attempt that is over */
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 2, 6), WEIR_META_CKPT_BEGUN);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 6), WEIR_META_IGNORED);
    state(meta, 1, "j1", WEIR_META_FAILED, 2);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 2, 6), WEIR_META_IGNORED);
    ck_assert_uint_eq(job->nckpts, 2);
    weir_meta_destroy(meta);
}
END_TEST

/* (M7): both ways to the end, and what does not fit in between. */
START_TEST(a_job_that_ends_only_drains)
{
    struct weir_meta *meta = weir_meta_create();
    lead(meta, 1);
    submit(meta, 1, "j1", "a");
    attempt(meta, 1, "j1", 1, true);
    const struct weir_meta_job *job = weir_meta_job(meta, weir_slice_str("j1"));
    bool fails = _i == 0;
    enum weir_meta_state ending = fails ? WEIR_META_FAILING : WEIR_META_CANCELLING;
    checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 1);
    checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 1);
    checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 2);
    ck_assert(!fails || state(meta, 1, "j1", WEIR_META_FAILING, 0) == WEIR_META_IGNORED);
    ck_assert_int_eq(state(meta, 1, "j1", ending, 1), WEIR_META_STATE_CHANGED);
    ck_assert_int_eq(state(meta, 1, "j1", ending, 1), WEIR_META_IGNORED);
    ck_assert_str_eq(job->text, fails ? "cause" : "");
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 2, false), WEIR_META_IGNORED); /* no other attempt */
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_FINISHED, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_of(meta, 1, "j1", 2, 1, false), WEIR_META_ATTEMPTED);
    ck_assert_uint_eq(job->drain_of, 1);
    ck_assert_uint_eq(job->restored_ckpt_id, 1);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 2, 3), WEIR_META_IGNORED);
    ck_assert_ptr_nonnull(weir_meta_job_named(meta, weir_slice_str("a")));
    if (_i == 2) { /* enough of it */
        ck_assert_int_eq(state_with(meta, 1, "j1", WEIR_META_CANCELLING, 0, true), WEIR_META_STATE_CHANGED);
        ck_assert_int_eq(state_with(meta, 1, "j1", WEIR_META_CANCELLING, 0, true), WEIR_META_IGNORED);
        ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELLING, 0), WEIR_META_IGNORED); /* for good */
        ck_assert(job->skip_drain);
        ck_assert_int_eq(attempt_of(meta, 1, "j1", 3, 1, false), WEIR_META_IGNORED);
    }
    enum weir_meta_state end = fails || _i == 3 ? WEIR_META_FAILED : WEIR_META_CANCELED;
    ck_assert_int_eq(state(meta, 1, "j1", end, 1), WEIR_META_IGNORED); /* seen in an attempt that is over */
    ck_assert_int_eq(state(meta, 1, "j1", end, 2), WEIR_META_STATE_CHANGED);
    ck_assert_int_eq(state(meta, 1, "j1", WEIR_META_CANCELLING, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_of(meta, 1, "j1", 3, 1, false), WEIR_META_IGNORED);
    weir_meta_destroy(meta);
}
END_TEST

/* (M8) */
START_TEST(jobmanagers_are_known_by_their_incarnation)
{
    struct weir_meta *meta = weir_meta_create();
    ck_assert_int_eq(member(meta, 1, 7, 70, "a", false), WEIR_META_IGNORED); /* (M1) */
    lead(meta, 1);
    ck_assert_int_eq(member(meta, 1, 0, 70, "a", false), WEIR_META_IGNORED);
    ck_assert_int_eq(member(meta, 1, 7, 0, "a", false), WEIR_META_IGNORED);
    ck_assert_int_eq(member(meta, 1, 7, 70, "a", false), WEIR_META_MEMBER_CHANGED);
    ck_assert_int_eq(member(meta, 1, 7, 70, "a", false), WEIR_META_IGNORED);
    ck_assert_int_eq(member(meta, 1, 7, 71, "b", false), WEIR_META_IGNORED); /* a directory made anew */
    ck_assert_int_eq(member(meta, 1, 7, 71, "b", true), WEIR_META_IGNORED);
    ck_assert_int_eq(member(meta, 1, 7, 70, "b", false), WEIR_META_MEMBER_CHANGED); /* it has moved */
    ck_assert_int_eq(member(meta, 1, UINT64_MAX, UINT64_MAX, "c", false), WEIR_META_MEMBER_CHANGED);
    ck_assert_str_eq(weir_meta_member(meta, 7)->rest_address, "b");
    ck_assert_uint_eq(weir_meta_member_at(meta, 1)->incarnation, UINT64_MAX);
    ck_assert_int_eq(member(meta, 1, 7, 70, "b", true), WEIR_META_MEMBER_CHANGED);
    ck_assert_int_eq(member(meta, 1, 7, 70, "b", true), WEIR_META_IGNORED);
    ck_assert_int_eq(member(meta, 1, 7, 70, "b", false), WEIR_META_IGNORED); /* for good */
    for (uint64_t id = 100; id < 100 + WEIR_META_REMOVED_MAX; id++) {
        ck_assert_ptr_nonnull(weir_meta_member(meta, 7));
        ck_assert_int_eq(member(meta, 1, id, 1, "", true), WEIR_META_MEMBER_CHANGED);
    }
    ck_assert_ptr_null(weir_meta_member(meta, 7)); /* the oldest of too many */
    ck_assert_ptr_nonnull(weir_meta_member(meta, 100));
    ck_assert_ptr_nonnull(weir_meta_member(meta, UINT64_MAX));
    ck_assert_uint_eq(weir_meta_member_count(meta), WEIR_META_REMOVED_MAX + 1);
    weir_meta_destroy(meta);
}
END_TEST

static void copy_by_snapshot(const struct weir_meta *meta, struct weir_meta *copy)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    weir_meta_snapshot(meta, &bytes);
    ck_assert_msg(weir_meta_restore(copy, weir_buf_slice(&bytes), &err) == WEIR_OK, "%s", err.text);
    weir_buf_fini(&bytes);
}

/* (M9) */
START_TEST(an_attempt_of_some_regions)
{
    struct weir_meta *meta = weir_meta_create();
    struct weir_meta *copy = weir_meta_create();
    static const uint32_t some[] = {2, 0};
    static const uint32_t one[] = {1};
    (void)lead(meta, 1);
    (void)submit(meta, 1, "j1", "a");
    ck_assert_int_eq(attempt_at(meta, 1, "j1", 1, 0, true, one, 1), WEIR_META_IGNORED); /* the first is of all */
    ck_assert_int_eq(attempt(meta, 1, "j1", 1, true), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 1, 1), WEIR_META_CKPT_BEGUN);
    ck_assert_int_eq(attempt_at(meta, 1, "j1", 2, 0, false, some, 2), WEIR_META_ATTEMPTED);
    const struct weir_meta_job *job = weir_meta_job(meta, weir_slice_str("j1"));
    ck_assert_uint_eq(job->pending_ckpt_id, 0); /* (M5) */
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 1, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_at(meta, 1, "j1", 3, 0, false, one, 1), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(attempt_at(meta, 1, "j1", 3, 0, false, one, 1), WEIR_META_IGNORED); /* (M2) */
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(job->attempt, 3);
        ck_assert_uint_eq(job->base_attempt, 1);
        ck_assert_uint_eq(job->nsources, 1);
        ck_assert_uint_eq(weir_meta_region_attempt(job, 0), 2);
        ck_assert_uint_eq(weir_meta_region_attempt(job, 1), 3);
        ck_assert_uint_eq(weir_meta_region_attempt(job, 2), 2);
        ck_assert_uint_eq(weir_meta_region_attempt(job, 3), 1);
        ck_assert(weir_meta_region_uses(job, 0, "tm-a") && weir_meta_region_uses(job, 0, "tm-b"));
        ck_assert(!weir_meta_region_uses(job, 1, "tm-a") && weir_meta_region_uses(job, 1, "tm-b"));
        ck_assert(weir_meta_region_uses(job, 3, "tm-a") && !weir_meta_region_uses(job, 3, "tm-c"));
        copy_by_snapshot(meta, copy);
        job = weir_meta_job(copy, weir_slice_str("j1"));
    }
    job = weir_meta_job(meta, weir_slice_str("j1"));
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 2, 2), WEIR_META_IGNORED); /* of the newest only */
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 3, 2), WEIR_META_CKPT_BEGUN);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_COMPLETE, 3, 2), WEIR_META_CKPT_COMPLETED); /* the last */
    ck_assert_int_eq(attempt_at(meta, 1, "j1", 4, 0, false, one, 1), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt(meta, 1, "j1", 4, false), WEIR_META_ATTEMPTED);
    ck_assert_uint_eq(job->nregions, 0);
    ck_assert_uint_eq(weir_meta_region_attempt(job, 1), 4);
    copy_by_snapshot(meta, copy);
    ck_assert_uint_eq(weir_meta_region_attempt(weir_meta_job(copy, weir_slice_str("j1")), 2), 4);
    weir_meta_destroy(copy);
    weir_meta_destroy(meta);
}
END_TEST

static enum weir_meta_change attempt_with(struct weir_meta *meta, uint32_t number, uint32_t drain_of, uint32_t parallelism_max, uint32_t run,
                                          bool region)
{
    static const char *const tms[] = {"tm-a", "tm-b"};
    static const struct weir_ha_region one = {.region = 0, .tm_ids = tms, .ntms = 2};
    struct weir_ha_record r = rec(WEIR_HA_ATTEMPT, 1, "j1");
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(weir_meta_job(meta, weir_slice_str("j1")));
    r.u.attempt.attempt = number;
    r.u.attempt.drain_of = drain_of;
    r.u.attempt.restore_checkpoint_id = newest == NULL ? 0 : newest->id;
    r.u.attempt.slot_tm_ids = tms;
    r.u.attempt.nslots = region ? 0 : 2;
    r.u.attempt.regions = &one;
    r.u.attempt.nregions = region;
    r.u.attempt.parallelism_max = parallelism_max;
    r.u.attempt.run = run;
    return weir_meta_apply(meta, &r);
}

/* (M7) of a LIVE job, (M10) */
START_TEST(a_run_ends_with_a_drain)
{
    struct weir_meta *meta = weir_meta_create();
    struct weir_meta *copy = weir_meta_create();
    lead(meta, 1);
    submit(meta, 1, "j1", "a");
    ck_assert_int_eq(attempt(meta, 1, "j1", 1, true), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(attempt_with(meta, 2, 1, 0, 0, false), WEIR_META_IGNORED); /* nothing to drain */
    ck_assert_int_eq(attempt_with(meta, 2, 0, 2, 2, false), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(attempt_with(meta, 3, 0, 0, 2, true), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_with(meta, 3, 0, 2, 0, true), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_with(meta, 3, 0, 2, 2, true), WEIR_META_ATTEMPTED);
    checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 3, 1);
    struct weir_ha_record complete = rec(WEIR_HA_CKPT_COMPLETE, 1, "j1");
    complete.u.ckpt_complete.attempt = 3;
    complete.u.ckpt_complete.id = 1;
    complete.u.ckpt_complete.path = "/c";
    complete.u.ckpt_complete.parallelism_max = 2;
    complete.u.ckpt_complete.run = 2;
    ck_assert_int_eq(weir_meta_apply(meta, &complete), WEIR_META_CKPT_COMPLETED);
    copy_by_snapshot(meta, copy);
    const struct weir_meta_job *job = weir_meta_job(copy, weir_slice_str("j1"));
    ck_assert(job->parallelism_max == 2 && job->run == 2 && job->ckpts[0].parallelism_max == 2 && job->ckpts[0].run == 2);
    ck_assert_int_eq(attempt_with(meta, 4, 3, 0, 2, false), WEIR_META_IGNORED); /* not as the checkpoint was taken */
    ck_assert_int_eq(attempt_with(meta, 4, 3, 2, 4, false), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_with(meta, 4, 3, 2, 2, false), WEIR_META_ATTEMPTED);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 4, 2), WEIR_META_IGNORED);
    ck_assert_int_eq(attempt_with(meta, 5, 0, 2, 2, true), WEIR_META_IGNORED); /* all or nothing, after it */
    ck_assert_int_eq(attempt_with(meta, 5, 0, 0, 5, false), WEIR_META_ATTEMPTED);
    job = weir_meta_job(meta, weir_slice_str("j1"));
    ck_assert(job->parallelism_max == 0 && job->run == 5 && job->ckpts[0].run == 2);
    ck_assert_int_eq(checkpoint(meta, 1, "j1", WEIR_HA_CKPT_BEGIN, 5, 2), WEIR_META_CKPT_BEGUN);
    weir_meta_destroy(copy);
    weir_meta_destroy(meta);
}
END_TEST

/* Random records: (M1)-(M4) hold, and at every step a snapshot restores to a state with the same snapshot. */
START_TEST(random_records_and_snapshots)
{
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i);
    struct weir_meta *meta = weir_meta_create();
    static const char *const ids[] = {"j0", "j1", "j2", "j3"};
    uint32_t newest[4] = {0};
    enum weir_meta_state ended[4] = {WEIR_META_LIVE};
    for (int step = 0; step < 300; step++) {
        uint32_t j = (uint32_t)weir_rand_below(&rand, 4);
        uint64_t epoch = weir_meta_epoch(meta) + (weir_rand_below(&rand, 10) == 0 ? 1 : 0);
        const struct weir_meta_job *before = weir_meta_job(meta, weir_slice_str(ids[j]));
        uint64_t id = (before == NULL ? 0 : before->last_ckpt_id) + weir_rand_below(&rand, 3) / 2;
        const uint32_t regions[] = {(uint32_t)weir_rand_below(&rand, 3), 3 + (uint32_t)weir_rand_below(&rand, 2)};
        switch (weir_rand_below(&rand, 15)) {
        case 13: case 14: attempt_at(meta, epoch, ids[j], newest[j] + (uint32_t)weir_rand_below(&rand, 3), weir_rand_below(&rand, 8) == 0, weir_rand_below(&rand, 2), regions, 1 + (uint32_t)weir_rand_below(&rand, 2)); break;
        case 6: case 7: case 8: checkpoint(meta, epoch, ids[j], WEIR_HA_CKPT_BEGIN, newest[j], id + 1); break;
        case 9: checkpoint(meta, epoch, ids[j], WEIR_HA_CKPT_ABORT, newest[j], id); break;
        case 10: case 11: checkpoint(meta, epoch, ids[j], WEIR_HA_CKPT_COMPLETE, newest[j], id); break;
        case 12: member(meta, epoch, weir_rand_below(&rand, 50), 1 + weir_rand_below(&rand, 2), ids[j], weir_rand_below(&rand, 2)); break;
        case 0: lead(meta, epoch + weir_rand_below(&rand, 2)); break;
        case 1: submit(meta, epoch, ids[j], weir_rand_below(&rand, 2) ? ids[j] : "shared"); break;
        case 2: case 3: attempt_of(meta, epoch, ids[j], newest[j] + (uint32_t)weir_rand_below(&rand, 3), (uint32_t)weir_rand_below(&rand, 2), weir_rand_below(&rand, 2)); break;
        case 4: state_with(meta, epoch, ids[j], (enum weir_meta_state)weir_rand_below(&rand, 7), newest[j], weir_rand_below(&rand, 2)); break;
        default: if (weir_rand_below(&rand, 4) == 0 && drop(meta, epoch, ids[j]) == WEIR_META_DROPPED) { newest[j] = 0; ended[j] = WEIR_META_LIVE; } break;
        }
        for (int k = 0; k < 4; k++) {
            const struct weir_meta_job *job = weir_meta_job(meta, weir_slice_str(ids[k]));
            if (job != NULL) {
                ck_assert(job->attempt == newest[k] || job->attempt == newest[k] + 1);
                ck_assert(!weir_meta_terminal(ended[k]) || job->state == ended[k]);
                newest[k] = job->attempt;
                ended[k] = job->state;
            }
        }
        struct weir_buf one = {0}, two = {0};
        weir_meta_snapshot(meta, &one);
        struct weir_meta *copy = weir_meta_create();
        struct weir_error err;
        ck_assert_int_eq(weir_meta_restore(copy, weir_buf_slice(&one), &err), WEIR_OK);
        weir_meta_snapshot(copy, &two);
        ck_assert(weir_slice_eq(weir_buf_slice(&one), weir_buf_slice(&two)));
        if (weir_rand_below(&rand, 5) == 0) { /* go on with the copy */
            struct weir_meta *old = meta;
            meta = copy;
            copy = old;
        }
        weir_meta_destroy(copy);
        weir_buf_fini(&one);
        weir_buf_fini(&two);
    }
    weir_meta_destroy(meta);
}
END_TEST

START_TEST(cut_and_altered_bytes_are_errors)
{
    struct weir_meta *meta = weir_meta_create();
    lead(meta, 1);
    submit(meta, 1, "j1", "a");
    attempt(meta, 1, "j1", 1, true);
    struct weir_buf bytes = {0};
    weir_meta_snapshot(meta, &bytes);
    struct weir_error err;
    for (size_t len = 0; len < bytes.len; len++) { /* a cut may fall between records: then it is a smaller valid snapshot */
        uint8_t *copy = weir_malloc(len + 1);
        memcpy(copy, bytes.data, len);
        enum weir_rc rc = weir_meta_restore(meta, weir_slice(copy, len), &err);
        ck_assert(rc == WEIR_OK || rc == WEIR_CORRUPT || rc == WEIR_UNSUPPORTED);
        ck_assert(len >= 2 || rc != WEIR_OK);
        weir_free(copy);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= 0x55;
        enum weir_rc rc = weir_meta_restore(meta, weir_buf_slice(&bytes), &err);
        ck_assert(rc == WEIR_OK || rc == WEIR_CORRUPT || rc == WEIR_UNSUPPORTED);
        bytes.data[i] ^= 0x55;
    }
    weir_buf_fini(&bytes);
    weir_meta_destroy(meta);
}
END_TEST

Suite *meta_suite(void);

Suite *meta_suite(void)
{
    Suite *suite = suite_create("meta");
    TCase *tcase = tcase_create("meta");
    tcase_add_test(tcase, records_of_another_epoch_do_nothing);
    tcase_add_test(tcase, checkpoints_are_conditional_and_idempotent);
    tcase_add_test(tcase, jobmanagers_are_known_by_their_incarnation);
    tcase_add_test(tcase, a_jobs_life_is_conditional_and_idempotent);
    tcase_add_loop_test(tcase, a_job_that_ends_only_drains, 0, 4);
    tcase_add_test(tcase, a_run_ends_with_a_drain);
    tcase_add_test(tcase, an_attempt_of_some_regions);
    tcase_add_loop_test(tcase, random_records_and_snapshots, 1, 40);
    tcase_add_test(tcase, cut_and_altered_bytes_are_errors);
    suite_add_tcase(suite, tcase);
    return suite;
}
