#include "proto/ha_codec.h"

#include "common/base/assert.h"
#include "proto/ha.pb-c.h"
#include "proto/pb.h"

/* protobuf-c's structs want mutable pointers although packing only reads them. */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct weir_slice from_binary(struct weir_arena *arena, ProtobufCBinaryData data)
{
    return weir_arena_slice(arena, weir_slice(data.data, data.len));
}

/* --- encoding: protobuf structs are built in an arena, then packed ------------------------------------------------- */
static Weir__Ha__Source *encode_source(const struct weir_ha_source *source, struct weir_arena *arena)
{
    Weir__Ha__Source *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__source__init(to);
    to->vertex = source->vertex;
    to->n_splits = source->nsplits;
    to->splits = weir_arena_alloc(arena, source->nsplits * sizeof(*to->splits));
    for (uint32_t i = 0; i < source->nsplits; i++) {
        to->splits[i] = weir_arena_alloc(arena, sizeof(**to->splits));
        weir__ha__split__init(to->splits[i]);
        to->splits[i]->id = weir_pb_bytes(source->splits[i].id);
        to->splits[i]->data = weir_pb_bytes(source->splits[i].data);
    }
    return to;
}

static char **encode_texts(const char *const *texts, uint32_t count, struct weir_arena *arena)
{
    char **to = weir_arena_alloc(arena, count * sizeof(*to));
    for (uint32_t i = 0; i < count; i++) {
        to[i] = unconst(texts[i]);
    }
    return to;
}

static Weir__Ha__Attempt *encode_attempt(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__Attempt *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__attempt__init(to);
    to->attempt = record->u.attempt.attempt;
    to->n_slot_tm_ids = record->u.attempt.nslots;
    to->slot_tm_ids = encode_texts(record->u.attempt.slot_tm_ids, record->u.attempt.nslots, arena);
    to->has_sources = record->u.attempt.has_sources;
    to->restore_checkpoint_id = record->u.attempt.restore_checkpoint_id;
    to->drain_of = record->u.attempt.drain_of;
    to->parallelism_max = record->u.attempt.parallelism_max;
    to->run = record->u.attempt.run;
    to->n_sources = record->u.attempt.nsources;
    to->sources = weir_arena_alloc(arena, record->u.attempt.nsources * sizeof(*to->sources));
    for (uint32_t i = 0; i < record->u.attempt.nsources; i++) {
        to->sources[i] = encode_source(&record->u.attempt.sources[i], arena);
    }
    to->n_regions = record->u.attempt.nregions;
    to->regions = weir_arena_alloc(arena, record->u.attempt.nregions * sizeof(*to->regions));
    for (uint32_t i = 0; i < record->u.attempt.nregions; i++) {
        const struct weir_ha_region *region = &record->u.attempt.regions[i];
        to->regions[i] = weir_arena_alloc(arena, sizeof(**to->regions));
        weir__ha__region__init(to->regions[i]);
        to->regions[i]->region = region->region;
        to->regions[i]->n_slot_tm_ids = region->ntms;
        to->regions[i]->slot_tm_ids = encode_texts(region->tm_ids, region->ntms, arena);
    }
    return to;
}

static Weir__Ha__CheckpointBegin *encode_ckpt_begin(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__CheckpointBegin *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__checkpoint_begin__init(to);
    to->attempt = record->u.ckpt_begin.attempt;
    to->checkpoint_id = record->u.ckpt_begin.id;
    return to;
}

static Weir__Ha__CheckpointComplete *encode_ckpt_complete(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__CheckpointComplete *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__checkpoint_complete__init(to);
    to->attempt = record->u.ckpt_complete.attempt;
    to->checkpoint_id = record->u.ckpt_complete.id;
    to->path = unconst(record->u.ckpt_complete.path);
    to->bytes = record->u.ckpt_complete.bytes;
    to->hash = record->u.ckpt_complete.hash;
    to->last = record->u.ckpt_complete.last;
    to->state_bytes = record->u.ckpt_complete.state_bytes;
    to->began_ms = record->u.ckpt_complete.began_ms;
    to->retained_max = record->u.ckpt_complete.retained_max;
    to->parallelism_max = record->u.ckpt_complete.parallelism_max;
    to->run = record->u.ckpt_complete.run;
    return to;
}

static Weir__Ha__CheckpointAbort *encode_ckpt_abort(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__CheckpointAbort *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__checkpoint_abort__init(to);
    to->attempt = record->u.ckpt_abort.attempt;
    to->checkpoint_id = record->u.ckpt_abort.id;
    to->text = unconst(record->u.ckpt_abort.text);
    return to;
}

static Weir__Ha__JobManager *encode_jobmanager(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__JobManager *message = weir_arena_alloc(arena, sizeof(*message));
    weir__ha__job_manager__init(message);
    message->id = record->u.jobmanager.id;
    message->incarnation = record->u.jobmanager.incarnation;
    message->rpc_address = unconst(record->u.jobmanager.rpc_address);
    message->rest_address = unconst(record->u.jobmanager.rest_address);
    message->removed = record->u.jobmanager.removed;
    return message;
}

static Weir__Ha__Record *encode_record(const struct weir_ha_record *record, struct weir_arena *arena)
{
    Weir__Ha__Record *to = weir_arena_alloc(arena, sizeof(*to));
    weir__ha__record__init(to);
    to->version = WEIR_HA_VERSION;
    to->epoch = record->epoch;
    to->at_ms = record->at_ms;
    to->job_id = unconst(record->job_id);
    to->body_case = (Weir__Ha__Record__BodyCase)record->kind;
    switch (record->kind) {
    case WEIR_HA_LEADER:
        to->leader = weir_arena_alloc(arena, sizeof(*to->leader));
        weir__ha__leader__init(to->leader);
        to->leader->node = unconst(record->u.leader.node);
        break;
    case WEIR_HA_SUBMIT:
        to->submit = weir_arena_alloc(arena, sizeof(*to->submit));
        weir__ha__submit__init(to->submit);
        to->submit->name = unconst(record->u.submit.name);
        to->submit->text_hash_1 = record->u.submit.text_hash[0];
        to->submit->text_hash_2 = record->u.submit.text_hash[1];
        to->submit->graph = weir_pb_bytes(record->u.submit.graph);
        break;
    case WEIR_HA_ATTEMPT:
        to->attempt = encode_attempt(record, arena);
        break;
    case WEIR_HA_JOB_STATE:
        to->job_state = weir_arena_alloc(arena, sizeof(*to->job_state));
        weir__ha__job_state__init(to->job_state);
        to->job_state->state = record->u.job_state.state;
        to->job_state->attempt = record->u.job_state.attempt;
        to->job_state->text = unconst(record->u.job_state.text);
        to->job_state->skip_drain = record->u.job_state.skip_drain;
        break;
    case WEIR_HA_JOB_DROP:
        to->job_drop = weir_arena_alloc(arena, sizeof(*to->job_drop));
        weir__ha__job_drop__init(to->job_drop);
        break;
    case WEIR_HA_CKPT_BEGIN:
        to->checkpoint_begin = encode_ckpt_begin(record, arena);
        break;
    case WEIR_HA_CKPT_COMPLETE:
        to->checkpoint_complete = encode_ckpt_complete(record, arena);
        break;
    case WEIR_HA_CKPT_ABORT:
        to->checkpoint_abort = encode_ckpt_abort(record, arena);
        break;
    case WEIR_HA_JOBMANAGER:
        to->jobmanager = encode_jobmanager(record, arena);
        break;
    }
    return to;
}

void weir_ha_encode(const struct weir_ha_record *record, struct weir_buf *out)
{
    struct weir_arena *arena = weir_arena_create(0);
    const Weir__Ha__Record *message = encode_record(record, arena);
    size_t bytes = weir__ha__record__get_packed_size(message);
    uint8_t *to = weir_buf_reserve(out, bytes);
    size_t packed = weir__ha__record__pack(message, to);
    weir_assert(packed == bytes);
    out->len += packed;
    weir_arena_destroy(arena);
}

void weir_ha_encode_snapshot(const struct weir_ha_record *records, uint32_t count, struct weir_buf *out)
{
    struct weir_arena *arena = weir_arena_create(0);
    Weir__Ha__Snapshot snapshot = WEIR__HA__SNAPSHOT__INIT;
    snapshot.version = WEIR_HA_VERSION;
    snapshot.n_records = count;
    snapshot.records = weir_arena_alloc(arena, count * sizeof(*snapshot.records));
    for (uint32_t i = 0; i < count; i++) {
        snapshot.records[i] = encode_record(&records[i], arena);
    }
    size_t bytes = weir__ha__snapshot__get_packed_size(&snapshot);
    uint8_t *to = weir_buf_reserve(out, bytes);
    size_t packed = weir__ha__snapshot__pack(&snapshot, to);
    weir_assert(packed == bytes);
    out->len += packed;
    weir_arena_destroy(arena);
}

/* --- decoding ------------------------------------------------------------------------------------------------------ */
static const char *const *decode_texts(char *const *texts, size_t count, struct weir_arena *arena)
{
    const char **to = weir_arena_alloc(arena, count * sizeof(*to));
    for (size_t i = 0; i < count; i++) {
        to[i] = weir_arena_strdup(arena, texts[i]);
    }
    return to;
}

static void decode_attempt(const Weir__Ha__Attempt *from, struct weir_arena *arena, struct weir_ha_record *record)
{
    struct weir_ha_region *regions = weir_arena_alloc(arena, from->n_regions * sizeof(*regions));
    for (size_t i = 0; i < from->n_regions; i++) {
        const Weir__Ha__Region *region = from->regions[i];
        regions[i] = (struct weir_ha_region){.region = region->region,
                                             .tm_ids = decode_texts(region->slot_tm_ids, region->n_slot_tm_ids, arena),
                                             .ntms = (uint32_t)region->n_slot_tm_ids};
    }
    struct weir_ha_source *sources = weir_arena_alloc(arena, from->n_sources * sizeof(*sources));
    for (size_t i = 0; i < from->n_sources; i++) {
        const Weir__Ha__Source *source = from->sources[i];
        struct weir_ha_split *splits = weir_arena_alloc(arena, source->n_splits * sizeof(*splits));
        for (size_t k = 0; k < source->n_splits; k++) {
            splits[k].id = from_binary(arena, source->splits[k]->id);
            splits[k].data = from_binary(arena, source->splits[k]->data);
        }
        sources[i] = (struct weir_ha_source){.vertex = source->vertex, .splits = splits, .nsplits = (uint32_t)source->n_splits};
    }
    record->u.attempt.attempt = from->attempt;
    record->u.attempt.regions = regions;
    record->u.attempt.nregions = (uint32_t)from->n_regions;
    record->u.attempt.slot_tm_ids = decode_texts(from->slot_tm_ids, from->n_slot_tm_ids, arena);
    record->u.attempt.nslots = (uint32_t)from->n_slot_tm_ids;
    record->u.attempt.has_sources = from->has_sources;
    record->u.attempt.restore_checkpoint_id = from->restore_checkpoint_id;
    record->u.attempt.drain_of = from->drain_of;
    record->u.attempt.parallelism_max = from->parallelism_max;
    record->u.attempt.run = from->run;
    record->u.attempt.sources = sources;
    record->u.attempt.nsources = (uint32_t)from->n_sources;
}

static void decode_ckpt_complete(const Weir__Ha__CheckpointComplete *from, struct weir_arena *arena, struct weir_ha_record *record)
{
    record->u.ckpt_complete.attempt = from->attempt;
    record->u.ckpt_complete.id = from->checkpoint_id;
    record->u.ckpt_complete.path = weir_arena_strdup(arena, from->path);
    record->u.ckpt_complete.bytes = from->bytes;
    record->u.ckpt_complete.hash = from->hash;
    record->u.ckpt_complete.last = from->last;
    record->u.ckpt_complete.state_bytes = from->state_bytes;
    record->u.ckpt_complete.began_ms = from->began_ms;
    record->u.ckpt_complete.retained_max = from->retained_max;
    record->u.ckpt_complete.parallelism_max = from->parallelism_max;
    record->u.ckpt_complete.run = from->run;
}

static enum weir_rc decode_record(const Weir__Ha__Record *from, struct weir_arena *arena, struct weir_ha_record *out,
                                  struct weir_error *err)
{
    if (from->version != WEIR_HA_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED,
                              "cluster log record of version %u; this JobManager reads version %d: start the newer Weir that wrote it",
                              from->version, WEIR_HA_VERSION);
    }
    struct weir_ha_record record = {.epoch = from->epoch, .at_ms = from->at_ms, .job_id = weir_arena_strdup(arena, from->job_id)};
    switch (from->body_case) {
    case WEIR__HA__RECORD__BODY_LEADER:
        record.kind = WEIR_HA_LEADER;
        record.u.leader.node = weir_arena_strdup(arena, from->leader->node);
        break;
    case WEIR__HA__RECORD__BODY_SUBMIT:
        record.kind = WEIR_HA_SUBMIT;
        record.u.submit.name = weir_arena_strdup(arena, from->submit->name);
        record.u.submit.text_hash[0] = from->submit->text_hash_1;
        record.u.submit.text_hash[1] = from->submit->text_hash_2;
        record.u.submit.graph = from_binary(arena, from->submit->graph);
        break;
    case WEIR__HA__RECORD__BODY_ATTEMPT:
        record.kind = WEIR_HA_ATTEMPT;
        decode_attempt(from->attempt, arena, &record);
        break;
    case WEIR__HA__RECORD__BODY_JOB_STATE:
        record.kind = WEIR_HA_JOB_STATE;
        record.u.job_state.state = from->job_state->state;
        record.u.job_state.attempt = from->job_state->attempt;
        record.u.job_state.text = weir_arena_strdup(arena, from->job_state->text);
        record.u.job_state.skip_drain = from->job_state->skip_drain;
        break;
    case WEIR__HA__RECORD__BODY_JOB_DROP:
        record.kind = WEIR_HA_JOB_DROP;
        break;
    case WEIR__HA__RECORD__BODY_CHECKPOINT_BEGIN:
        record.kind = WEIR_HA_CKPT_BEGIN;
        record.u.ckpt_begin.attempt = from->checkpoint_begin->attempt;
        record.u.ckpt_begin.id = from->checkpoint_begin->checkpoint_id;
        break;
    case WEIR__HA__RECORD__BODY_CHECKPOINT_COMPLETE:
        record.kind = WEIR_HA_CKPT_COMPLETE;
        decode_ckpt_complete(from->checkpoint_complete, arena, &record);
        break;
    case WEIR__HA__RECORD__BODY_CHECKPOINT_ABORT:
        record.kind = WEIR_HA_CKPT_ABORT;
        record.u.ckpt_abort.attempt = from->checkpoint_abort->attempt;
        record.u.ckpt_abort.id = from->checkpoint_abort->checkpoint_id;
        record.u.ckpt_abort.text = weir_arena_strdup(arena, from->checkpoint_abort->text);
        break;
    case WEIR__HA__RECORD__BODY_JOBMANAGER:
        record.kind = WEIR_HA_JOBMANAGER;
        record.u.jobmanager.id = from->jobmanager->id;
        record.u.jobmanager.incarnation = from->jobmanager->incarnation;
        record.u.jobmanager.rpc_address = weir_arena_strdup(arena, from->jobmanager->rpc_address);
        record.u.jobmanager.rest_address = weir_arena_strdup(arena, from->jobmanager->rest_address);
        record.u.jobmanager.removed = from->jobmanager->removed != 0;
        break;
    case WEIR__HA__RECORD__BODY__NOT_SET:
    case _WEIR__HA__RECORD__BODY__CASE_IS_INT_SIZE:
        return weir_error_set(err, WEIR_UNSUPPORTED, "cluster log record of an unknown kind: start the newer Weir that wrote it");
    }
    *out = record;
    return WEIR_OK;
}

enum weir_rc weir_ha_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_ha_record *out_record, struct weir_error *err)
{
    Weir__Ha__Record *message = weir__ha__record__unpack(NULL, bytes.len, bytes.data);
    if (message == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "cluster log record of %zu bytes is no record", bytes.len);
    }
    enum weir_rc rc = decode_record(message, arena, out_record, err);
    weir__ha__record__free_unpacked(message, NULL);
    return rc;
}

enum weir_rc weir_ha_decode_snapshot(struct weir_slice bytes, struct weir_arena *arena, struct weir_ha_record **out_records,
                                     uint32_t *out_count, struct weir_error *err)
{
    Weir__Ha__Snapshot *message = weir__ha__snapshot__unpack(NULL, bytes.len, bytes.data);
    if (message == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "cluster log snapshot of %zu bytes is no snapshot", bytes.len);
    }
    enum weir_rc rc = WEIR_OK;
    struct weir_ha_record *records = weir_arena_alloc(arena, message->n_records * sizeof(*records));
    if (message->version != WEIR_HA_VERSION) {
        rc = weir_error_set(err, WEIR_UNSUPPORTED, "cluster log snapshot of version %u; this JobManager reads version %d", message->version,
                            WEIR_HA_VERSION);
    }
    for (size_t i = 0; rc == WEIR_OK && i < message->n_records; i++) {
        rc = decode_record(message->records[i], arena, &records[i], err);
    }
    if (rc == WEIR_OK) {
        *out_records = records;
        *out_count = (uint32_t)message->n_records;
    }
    weir__ha__snapshot__free_unpacked(message, NULL);
    return rc;
}
