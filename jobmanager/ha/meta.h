/*
 * The replicated state machine: what must survive the leader. Pure: records in, state out; the same records give the same state on every
 * JobManager. What is owed because of a record (deploy, cancel) is for job/dispatcher, and only for records of its own epoch.
 *
 * (M1) A record counts only if its epoch is that of the last LEADER; LEADER only if its epoch is greater than every earlier one.
 * (M2) Every record is conditional and idempotent: applied twice, it does nothing the second time.
 * (M3) A job's attempt only grows. A terminal job never changes but by JOB_DROP.
 * (M4) The name of a live job is unique.
 * (M5) A checkpoint's id is one more than the last begun, and never used again. One is pending at most; it COMPLETEs once, only while its
 *      attempt is the present one of a live job. A new attempt, or a terminal state, ends it.
 * (M6) An attempt names the newest completed checkpoint, which it starts from; one that names another is IGNORED.
 * (M7) An attempt that only drains counts only when a checkpoint is complete, and not while the job is CANCELLING with skip_drain; while it is FAILING
 *      or CANCELLING no other attempt counts. None begins a checkpoint, so what it is to drain is fixed.
 * (M8) A JobManager's incarnation never changes: another one under its id is IGNORED. One that is removed stays so; of those the newest
 *      WEIR_META_REMOVED_MAX are remembered.
 * (M9) An attempt that names regions begins them anew and no other; it counts only after an attempt of all regions, and not once the newest
 *      completed checkpoint is the job's last. A region's attempt is the number of the newest that named it, or named none.
 * (M10) Parallelism and run are those of the newest attempt of all regions: one that names regions and has others is IGNORED. An attempt that drains
 *      has those of the newest completed checkpoint.
 */
#ifndef WEIR_JOBMANAGER_HA_META_H
#define WEIR_JOBMANAGER_HA_META_H

#include "proto/ha_codec.h"

enum { WEIR_META_REMOVED_MAX = 32 };

/* The job's part that is replicated; finer states are the leader's own. Numbers are on disk: append. */
enum weir_meta_state {
    WEIR_META_LIVE,
    WEIR_META_CANCELLING,
    WEIR_META_FAILED,
    WEIR_META_CANCELED,
    WEIR_META_FINISHED,
    WEIR_META_FAILING, /* it will not restart: its sinks are to drain, then it is FAILED */
};

/* A completed checkpoint. */
struct weir_meta_ckpt {
    uint64_t id;
    uint32_t attempt;
    char *path; /* of _metadata */
    uint64_t bytes, hash; /* of that file */
    bool last;            /* every task took it after the end of its input */
    uint32_t parallelism_max, run; /* of the attempt that took it */
    uint64_t state_bytes;
    int64_t began_ms, completed_ms; /* wall */
};

/* A region that was begun anew by itself. */
struct weir_meta_region {
    uint32_t region, attempt;
    char **tm_ids; /* by the order of its subtasks */
    uint32_t ntms;
};

struct weir_meta_job {
    char *id;
    char *name;
    uint64_t text_hash[2];
    struct weir_slice graph; /* encoded; owned */
    int64_t submitted_ms;
    enum weir_meta_state state;
    int64_t state_ms;      /* wall: when it got into this state */
    char *text;            /* FAILING, FAILED: the cause; CANCELED: what stays undrained; else "" */
    bool skip_drain;       /* CANCELLING, CANCELED */
    uint32_t attempt;      /* the newest, of all or some regions; 0: none yet */
    uint32_t base_attempt; /* the newest of all regions */
    uint32_t drain_of;     /* it only drains, after that attempt; 0: an ordinary one */
    int64_t attempt_ms;
    uint32_t parallelism_max; /* no vertex has more subtasks; 0: as many as the graph says */
    uint32_t run;             /* the number of the attempt that began with this parallelism; 0: the first */
    char **slot_tm_ids;    /* of base_attempt */
    uint32_t nslots;
    struct weir_meta_region *regions; /* those whose attempt is a later one, by number */
    size_t nregions, regions_cap;
    struct weir_arena *sources_arena;
    const struct weir_ha_source *sources; /* committed before the first read, kept by later attempts */
    uint32_t nsources;
    uint64_t restored_ckpt_id; /* what the newest attempt starts from; 0: from the beginning */
    uint64_t last_ckpt_id;     /* the last begun */
    uint64_t pending_ckpt_id;  /* 0: none */
    struct weir_meta_ckpt *ckpts; /* retained, oldest first */
    size_t nckpts, ckpts_cap;
};

/* A JobManager. */
struct weir_meta_member {
    uint64_t id;          /* in Raft */
    uint64_t incarnation; /* of its directory */
    char *rpc_address, *rest_address; /* "host:port" */
    bool removed;
};

/* The newest completed checkpoint, or NULL. */
static inline const struct weir_meta_ckpt *weir_meta_ckpt_newest(const struct weir_meta_job *job)
{
    return job->nckpts == 0 ? NULL : &job->ckpts[job->nckpts - 1];
}

/* The region's present attempt; 0: none yet. */
uint32_t weir_meta_region_attempt(const struct weir_meta_job *job, uint32_t region);
/* Whether the TaskManager has a slot in it. */
bool weir_meta_region_uses(const struct weir_meta_job *job, uint32_t region, const char *tm_id);

struct weir_meta;

struct weir_meta *weir_meta_create(void);
void weir_meta_destroy(struct weir_meta *meta); /* accepts NULL */

/* What a record did. */
enum weir_meta_change {
    WEIR_META_IGNORED, /* another epoch, or its condition does not hold (any more) */
    WEIR_META_LED,
    WEIR_META_SUBMITTED,
    WEIR_META_ATTEMPTED,
    WEIR_META_STATE_CHANGED,
    WEIR_META_DROPPED, /* the job is gone from the table */
    WEIR_META_CKPT_BEGUN,
    WEIR_META_CKPT_COMPLETED,
    WEIR_META_CKPT_ABORTED,
    WEIR_META_MEMBER_CHANGED,
};

/* Applies a record. Never fails: a record that does not fit is IGNORED, on every JobManager alike. */
enum weir_meta_change weir_meta_apply(struct weir_meta *meta, const struct weir_ha_record *record);

void weir_meta_snapshot(const struct weir_meta *meta, struct weir_buf *out);
/* Replaces the state; on error it is empty. CORRUPT, UNSUPPORTED. */
enum weir_rc weir_meta_restore(struct weir_meta *meta, struct weir_slice snapshot, struct weir_error *err) WEIR_CHECKED;

uint64_t weir_meta_epoch(const struct weir_meta *meta);

/* Jobs in order of submission. Borrowed until the next apply or restore. */
uint32_t weir_meta_job_count(const struct weir_meta *meta);
const struct weir_meta_job *weir_meta_job_at(const struct weir_meta *meta, uint32_t i);
const struct weir_meta_job *weir_meta_job(const struct weir_meta *meta, struct weir_slice id);
/* The job of that name that has not ended, or NULL. */
const struct weir_meta_job *weir_meta_job_named(const struct weir_meta *meta, struct weir_slice name);

/* JobManagers in the order they became known, those removed too. Borrowed until the next apply or restore. */
uint32_t weir_meta_member_count(const struct weir_meta *meta);
const struct weir_meta_member *weir_meta_member_at(const struct weir_meta *meta, uint32_t i);
const struct weir_meta_member *weir_meta_member(const struct weir_meta *meta, uint64_t id); /* NULL: not known */

static inline bool weir_meta_terminal(enum weir_meta_state state)
{
    return state == WEIR_META_FAILED || state == WEIR_META_CANCELED || state == WEIR_META_FINISHED;
}

#endif
