/*
 * Records of the replicated log (ha.proto) as plain structs, to bytes and back.
 */
#ifndef WEIR_PROTO_HA_CODEC_H
#define WEIR_PROTO_HA_CODEC_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_HA_VERSION = 1 };

enum weir_ha_kind {
    WEIR_HA_LEADER = 10,
    WEIR_HA_SUBMIT = 11,
    WEIR_HA_ATTEMPT = 12,
    WEIR_HA_JOB_STATE = 13,
    WEIR_HA_JOB_DROP = 14,
    WEIR_HA_CKPT_BEGIN = 15,
    WEIR_HA_CKPT_COMPLETE = 16,
    WEIR_HA_CKPT_ABORT = 17,
    WEIR_HA_JOBMANAGER = 18,
};

struct weir_ha_split {
    struct weir_slice id;
    struct weir_slice data;
};

struct weir_ha_source {
    uint32_t vertex;
    const struct weir_ha_split *splits;
    uint32_t nsplits;
};

struct weir_ha_region {
    uint32_t region;
    const char *const *tm_ids; /* by the order of its subtasks */
    uint32_t ntms;
};

struct weir_ha_record {
    enum weir_ha_kind kind;
    uint64_t epoch;
    int64_t at_ms;
    const char *job_id; /* "" for LEADER */
    union {
        struct {
            const char *node;
        } leader;
        struct {
            const char *name;
            uint64_t text_hash[2];
            struct weir_slice graph;
        } submit;
        struct {
            uint32_t attempt;
            const char *const *slot_tm_ids;
            uint32_t nslots;
            bool has_sources;
            const struct weir_ha_source *sources;
            uint32_t nsources;
            uint64_t restore_checkpoint_id; /* 0: from the beginning */
            uint32_t drain_of;              /* the attempt whose sinks it drains; 0: it runs all tasks */
            const struct weir_ha_region *regions; /* only these begin anew; none: all, on slot_tm_ids */
            uint32_t nregions;
            uint32_t parallelism_max, run; /* control.proto's DeployRequest */
        } attempt;
        struct {
            uint32_t state; /* enum weir_meta_state (jobmanager/ha/meta.h) */
            uint32_t attempt;
            const char *text;
            bool skip_drain; /* CANCELLING */
        } job_state;
        struct {
            uint32_t attempt;
            uint64_t id;
        } ckpt_begin;
        struct {
            uint32_t attempt;
            uint64_t id;
            const char *path; /* of _metadata */
            uint64_t bytes;
            uint64_t hash;
            bool last;
            uint64_t state_bytes;
            int64_t began_ms;
            uint32_t retained_max;
            uint32_t parallelism_max, run; /* of the attempt that took it */
        } ckpt_complete;
        struct {
            uint32_t attempt;
            uint64_t id;
            const char *text;
        } ckpt_abort;
        struct {
            uint64_t id;
            uint64_t incarnation;
            const char *rpc_address, *rest_address;
            bool removed;
        } jobmanager;
    } u;
};

/* Appends one encoded record. Any thread. */
void weir_ha_encode(const struct weir_ha_record *record, struct weir_buf *out);

/* One record; everything it points to lies in arena. CORRUPT, UNSUPPORTED (a newer version). Any thread. */
enum weir_rc weir_ha_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_ha_record *out_record,
                            struct weir_error *err) WEIR_CHECKED;

/* A list of records, as a snapshot. */
void weir_ha_encode_snapshot(const struct weir_ha_record *records, uint32_t count, struct weir_buf *out);
enum weir_rc weir_ha_decode_snapshot(struct weir_slice bytes, struct weir_arena *arena, struct weir_ha_record **out_records,
                                     uint32_t *out_count, struct weir_error *err) WEIR_CHECKED;

#endif
