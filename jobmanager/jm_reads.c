/* weir_jm_prove (jm_api.h): who asks waits until the cluster log has confirmed that this JobManager leads. */
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "jobmanager/jm_internal.h"

enum { ELECTIONS_MAX = 5 /* that one who has no majority waits for: by the first it knows, mostly */ };

static int64_t wait_ms(const struct weir_jm *jm)
{
    return ELECTIONS_MAX * weir_config_int(jm->options.config, WEIR_CFG_RAFT_ELECTION);
}

void weir_jm_prove(struct weir_jm *jm, weir_jm_done_fn *done, void *ctx)
{
    weir_owner_assert(&jm->owner);
    struct weir_error err = {.rc = WEIR_OK};
    uint64_t question = 0;
    if (!weir_dispatcher_leading(jm->dispatcher)) {
        done(ctx, weir_error_set(&err, WEIR_REFUSED, "this JobManager does not lead"), &err);
        return;
    }
    if (weir_cluster_log_confirm(jm->log, &question)) {
        done(ctx, WEIR_OK, &err);
        return;
    }
    jm->reads.items = weir_vec_grow(jm->reads.items, &jm->reads.cap, sizeof(*jm->reads.items), jm->reads.count + 1);
    jm->reads.items[jm->reads.count++] = (struct weir_jm_read){.question = question,
                                                               .epoch = weir_dispatcher_epoch(jm->dispatcher),
                                                               .deadline_ms = weir_clock_mono_ms(jm->options.clock) + wait_ms(jm),
                                                               .done = done,
                                                               .ctx = ctx};
}

/* False: it waits on. */
static bool answer(struct weir_jm *jm, const struct weir_jm_read *read, int64_t now_ms)
{
    struct weir_error err = {.rc = WEIR_OK};
    if (!weir__jm_leads_in(jm, read->epoch)) {
        (void)weir_error_set(&err, WEIR_REFUSED, "this JobManager does not lead any more");
    } else if (read->question > jm->reads.confirmed) {
        if (now_ms < read->deadline_ms) {
            return false;
        }
        (void)weir_error_set(&err, WEIR_AGAIN, "this JobManager led, but in %lld ms no majority of them has said that it still does: try again",
                             (long long)wait_ms(jm));
    }
    read->done(read->ctx, err.rc, &err);
    return true;
}

/* Questions and deadlines grow from one to the next. */
void weir__jm_reads_run(struct weir_jm *jm)
{
    size_t answered = 0;
    if (jm->reads.count == 0) {
        return;
    }
    int64_t now_ms = weir_clock_mono_ms(jm->options.clock);
    while (answered < jm->reads.count) {
        const struct weir_jm_read read = jm->reads.items[answered];
        if (!answer(jm, &read, now_ms)) {
            break;
        }
        weir__jm_run_effects(jm);
        answered++;
    }
    jm->reads.count -= answered;
    memmove(jm->reads.items, jm->reads.items + answered, jm->reads.count * sizeof(*jm->reads.items));
}

int64_t weir__jm_reads_deadline_ms(const struct weir_jm *jm)
{
    return jm->reads.count == 0 ? INT64_MAX : jm->reads.items[0].deadline_ms;
}

void weir__jm_reads_abort(struct weir_jm *jm, const struct weir_error *err)
{
    for (size_t i = 0; i < jm->reads.count; i++) {
        jm->reads.items[i].done(jm->reads.items[i].ctx, err->rc, err);
    }
    jm->reads.count = 0;
}
