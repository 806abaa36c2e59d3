#include "taskmanager/state/delta_snap.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/data/rowkey.h"

enum {
    SNAP_VERSION = 1,
    BLOCK_ENTRIES = 256,
    ENTRY_BYTES_MIN = 8 + 4 + 4,
    SPACE_BYTES = 8 + 8,
    RUN_ENTRIES_AT = 8, /* in a run's head */
    RUN_BYTES_AT = 12,
    RUN_HEAD_BYTES = 20,
};

static uint32_t first_group(const struct weir_delta_codec *codec)
{
    return weir_key_group_first(codec->subtask, codec->max_parallelism, codec->parallelism);
}

static uint32_t end_group(const struct weir_delta_codec *codec)
{
    return weir_key_group_first(codec->subtask + 1, codec->max_parallelism, codec->parallelism);
}

/* --- encode ---------------------------------------------------------------------------------------------------------- */

/* A namespace being written, standing at its next entry. */
struct arm {
    struct weir_delta_cursor cursor;
    struct weir_delta_entry entry;
    int64_t space;
    uint64_t entries; /* written */
    uint32_t group;   /* of the entry; UINT32_MAX: no more */
};

static void advance(const struct weir_delta_codec *codec, struct arm *arm)
{
    uint32_t before = arm->group;
    if (!weir_delta_cursor_next(&arm->cursor, &arm->entry)) {
        arm->group = UINT32_MAX;
        return;
    }
    arm->group = weir_key_group(arm->entry.hash, codec->max_parallelism);
    weir_assert(arm->group >= before);
    weir_assert(arm->group < end_group(codec));
}

static void encode_run(const struct weir_delta_codec *codec, struct arm *arm, uint32_t index, struct weir_buf *out)
{
    uint32_t group = arm->group;
    size_t head = out->len;
    weir_buf_put_u32(out, group);
    weir_buf_put_u32(out, index);
    weir_buf_put_u32(out, 0);
    weir_buf_put_u64(out, 0);
    uint32_t entries = 0;
    for (; arm->group == group; advance(codec, arm)) {
        weir_buf_put_u64(out, arm->entry.hash);
        weir_buf_put_bytes(out, arm->entry.key);
        size_t at = out->len;
        weir_buf_put_u32(out, 0);
        codec->encode(codec->ctx, arm->entry.payload, out);
        weir_buf_set_u32(out, at, (uint32_t)(out->len - at - 4));
        entries++;
    }
    weir_buf_set_u32(out, head + RUN_ENTRIES_AT, entries);
    weir_buf_set_u64(out, head + RUN_BYTES_AT, out->len - head - RUN_HEAD_BYTES);
    arm->entries += entries;
}

/* The least group that is still to be written. */
static uint32_t next_group(const struct arm *arms, uint32_t count)
{
    uint32_t group = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        group = arms[i].group < group ? arms[i].group : group;
    }
    return group;
}

void weir_delta_encode(const struct weir_delta *delta, const struct weir_delta_codec *codec, struct weir_buf *out)
{
    uint32_t spaces = weir_delta_spaces(delta);
    struct arm *arms = weir_calloc(spaces, sizeof(*arms));
    uint32_t count = 0; /* of namespaces with entries */
    for (uint32_t i = 0; i < spaces; i++) {
        struct arm *arm = &arms[count];
        *arm = (struct arm){.space = weir_delta_space(delta, i), .group = first_group(codec)};
        weir_delta_cursor_init(&arm->cursor, delta, arm->space);
        advance(codec, arm);
        if (arm->group == UINT32_MAX) {
            weir_delta_cursor_fini(&arm->cursor);
        } else {
            count++;
        }
    }
    weir_buf_put_u8(out, SNAP_VERSION);
    weir_buf_put_u32(out, codec->max_parallelism);
    weir_buf_put_u32(out, first_group(codec));
    weir_buf_put_u32(out, end_group(codec));
    weir_buf_put_u32(out, count);
    size_t spaces_at = out->len;
    for (uint32_t i = 0; i < count; i++) {
        weir_buf_put_i64(out, arms[i].space);
        weir_buf_put_u64(out, 0);
    }
    size_t runs_at = out->len;
    uint32_t runs = 0;
    weir_buf_put_u32(out, 0);
    for (uint32_t group = next_group(arms, count); group != UINT32_MAX; group = next_group(arms, count)) {
        for (uint32_t i = 0; i < count; i++) {
            if (arms[i].group == group) {
                encode_run(codec, &arms[i], i, out);
                runs++;
            }
        }
    }
    weir_buf_set_u32(out, runs_at, runs);
    for (uint32_t i = 0; i < count; i++) {
        weir_buf_set_u64(out, spaces_at + (size_t)i * SPACE_BYTES + 8, arms[i].entries);
        weir_delta_cursor_fini(&arms[i].cursor);
    }
    weir_free(arms);
}

/* --- decode ---------------------------------------------------------------------------------------------------------- */

struct space {
    int64_t space;
    uint64_t entries; /* still to come */
};

struct decoder {
    struct weir_delta *delta;
    const struct weir_delta_codec *codec;
    struct weir_reader reader;
    uint32_t first, end; /* groups of the writer */
    struct space *spaces;
    uint32_t nspaces;
    uint32_t group, index; /* of the run before */
    /* Entries read and not added yet. */
    uint32_t count;
    int64_t namespaces[BLOCK_ENTRIES];
    uint64_t hashes[BLOCK_ENTRIES];
    struct weir_slice keys[BLOCK_ENTRIES];
    struct weir_slice values[BLOCK_ENTRIES];
    uint8_t *payloads[BLOCK_ENTRIES];
    bool created[BLOCK_ENTRIES];
};

static enum weir_rc corrupt(struct weir_error *err, const char *what)
{
    return weir_error_set(err, WEIR_CORRUPT, "keyed state: %s", what);
}

static enum weir_rc add_block(struct decoder *decoder, struct weir_error *err)
{
    enum weir_rc rc = weir_delta_get_many(decoder->delta, decoder->namespaces, decoder->hashes, decoder->keys, decoder->count,
                                          decoder->payloads, decoder->created);
    if (rc == WEIR_AGAIN) {
        const struct weir_mem *mem = decoder->codec->mem;
        return weir_error_set(err, WEIR_RESOURCE,
                              "no memory to restore more than %llu keys of state, %llu of %llu bytes of the budget in use; raise "
                              "taskmanager.memory.size",
                              (unsigned long long)weir_delta_entries(decoder->delta), (unsigned long long)weir_mem_used(mem),
                              (unsigned long long)weir_mem_limit(mem));
    }
    for (uint32_t i = 0; i < decoder->count && rc == WEIR_OK; i++) {
        rc = decoder->created[i] ? decoder->codec->decode(decoder->codec->ctx, decoder->values[i], decoder->payloads[i], err)
                                 : corrupt(err, "a key stands in it twice");
    }
    decoder->count = 0;
    return rc;
}

static enum weir_rc decode_run(struct decoder *decoder, struct weir_slice bytes, uint32_t entries, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    uint64_t last_hash = 0;
    struct weir_slice last_key = {0};
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t hash = weir_read_u64(&reader);
        struct weir_slice key = weir_read_bytes(&reader);
        struct weir_slice value = weir_read_bytes(&reader);
        if (reader.failed) {
            return corrupt(err, "it ends within a key group");
        }
        if (i > 0 && (hash < last_hash || (hash == last_hash && weir_slice_cmp(key, last_key) <= 0))) {
            return corrupt(err, "keys are out of order");
        }
        if (weir_key_group(hash, decoder->codec->max_parallelism) != decoder->group || key.len >= WEIR_DELTA_KEY_BYTES_MAX ||
            weir_hash_slice(key, 0) != hash) {
            return corrupt(err, "a key does not have the hash that is written with it");
        }
        uint32_t at = decoder->count++;
        decoder->namespaces[at] = decoder->spaces[decoder->index].space;
        decoder->hashes[at] = hash;
        decoder->keys[at] = key;
        decoder->values[at] = value;
        if (decoder->count == BLOCK_ENTRIES) {
            enum weir_rc rc = add_block(decoder, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
        last_hash = hash;
        last_key = key;
    }
    return reader.rest.len == 0 ? WEIR_OK : corrupt(err, "a key group is longer than its entries");
}

static enum weir_rc decode_runs(struct decoder *decoder, struct weir_error *err)
{
    struct weir_reader *reader = &decoder->reader;
    uint32_t first = first_group(decoder->codec);
    uint32_t end = end_group(decoder->codec);
    uint32_t runs = weir_read_u32(reader);
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t group = weir_read_u32(reader);
        uint32_t index = weir_read_u32(reader);
        uint32_t entries = weir_read_u32(reader);
        struct weir_slice bytes = weir_read_raw(reader, weir_read_u64(reader));
        if (reader->failed) {
            return corrupt(err, "it ends before its last key group");
        }
        bool ascends = run == 0 || group > decoder->group || (group == decoder->group && index > decoder->index);
        if (!ascends || group < decoder->first || group >= decoder->end || index >= decoder->nspaces || entries == 0 ||
            entries > decoder->spaces[index].entries) {
            return corrupt(err, "a key group has an impossible head");
        }
        decoder->group = group;
        decoder->index = index;
        decoder->spaces[index].entries -= entries;
        if (group >= first && group < end) {
            enum weir_rc rc = decode_run(decoder, bytes, entries, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
    }
    for (uint32_t i = 0; i < decoder->nspaces; i++) {
        if (decoder->spaces[i].entries != 0) {
            return corrupt(err, "entries are missing");
        }
    }
    if (reader->failed || reader->rest.len != 0) {
        return corrupt(err, "it is cut, or too long");
    }
    return add_block(decoder, err);
}

/* Reads the namespaces and makes room for the part of their entries that is to be expected here. */
static enum weir_rc decode_spaces(struct decoder *decoder, struct weir_error *err)
{
    struct weir_reader *reader = &decoder->reader;
    const struct weir_delta_codec *codec = decoder->codec;
    uint32_t count = weir_read_u32(reader);
    if (reader->failed || count > reader->rest.len / SPACE_BYTES) {
        return corrupt(err, "it ends within its namespaces");
    }
    decoder->spaces = weir_calloc(count, sizeof(*decoder->spaces));
    decoder->nspaces = count;
    uint64_t total = 0;
    uint64_t most = reader->rest.len / ENTRY_BYTES_MIN;
    for (uint32_t i = 0; i < count; i++) {
        struct space *space = &decoder->spaces[i];
        space->space = weir_read_i64(reader);
        space->entries = weir_read_u64(reader);
        bool ascends = i == 0 || space->space > decoder->spaces[i - 1].space;
        if (!ascends || space->entries == 0 || space->entries > most - total || !codec->space_fits(codec->ctx, space->space)) {
            return corrupt(err, "a namespace cannot be");
        }
        total += space->entries;
    }
    uint32_t first = first_group(codec) > decoder->first ? first_group(codec) : decoder->first;
    uint32_t end = end_group(codec) < decoder->end ? end_group(codec) : decoder->end;
    for (uint32_t i = 0; i < count && first < end; i++) {
        unsigned __int128 share = (unsigned __int128)decoder->spaces[i].entries * (end - first) / (decoder->end - decoder->first);
        weir_delta_reserve(decoder->delta, decoder->spaces[i].space, (uint64_t)share);
    }
    return WEIR_OK;
}

enum weir_rc weir_delta_decode(struct weir_delta *delta, const struct weir_delta_codec *codec, struct weir_slice state,
                               struct weir_error *err)
{
    struct decoder *decoder = weir_calloc(1, sizeof(*decoder));
    decoder->delta = delta;
    decoder->codec = codec;
    decoder->reader = weir_reader(state);
    uint8_t version = weir_read_u8(&decoder->reader);
    uint32_t max_parallelism = weir_read_u32(&decoder->reader);
    decoder->first = weir_read_u32(&decoder->reader);
    decoder->end = weir_read_u32(&decoder->reader);
    enum weir_rc rc = WEIR_OK;
    if (decoder->reader.failed || version != SNAP_VERSION) {
        rc = weir_error_set(err, WEIR_CORRUPT, "keyed state of version %u, expected %d", version, SNAP_VERSION);
    } else if (max_parallelism != codec->max_parallelism) {
        rc = weir_error_set(err, WEIR_INVALID,
                            "keyed state was written with a maximal parallelism of %u, the job has %u: it cannot change while there is state",
                            max_parallelism, codec->max_parallelism);
    } else if (decoder->first >= decoder->end || decoder->end > max_parallelism) {
        rc = corrupt(err, "its key groups are impossible");
    }
    if (rc == WEIR_OK) {
        rc = decode_spaces(decoder, err);
    }
    if (rc == WEIR_OK) {
        rc = decode_runs(decoder, err);
    }
    weir_free(decoder->spaces);
    weir_free(decoder);
    return rc;
}
