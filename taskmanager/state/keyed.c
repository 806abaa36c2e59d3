#include "taskmanager/state/keyed.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/data/rowkey.h"
#include "proto/ckpt_codec.h"
#include "taskmanager/state/delta_freeze.h"
#include "taskmanager/state/keyed_files.h"

#include <stddef.h>
#include <string.h>

enum {
    CAPTURE_ENTRIES = 1024,        /* a step: 0.1 to 0.4 ms */
    WRITE_BYTES_MIN = 256 << 10,   /* a piece of work for the writer */
    BACKLOG_BYTES_MAX = 32 << 20,  /* captured and not written */
    READ_BYTES = 1 << 20,          /* of entries, a piece of reading */
    ADD_ENTRIES = 256,
    TAKEN_MAX = 4,
    GROWN_BYTES_MIN = 16 << 20,
    GROWN_TIMES = 3,
};

enum phase { PHASE_IDLE, PHASE_WRITING, PHASE_RESTORING };

/* What the writer is lent for one piece of work. */
struct writing {
    bool first, last;
    struct weir_delta_chunk **chunks;
    size_t nchunks, chunks_cap;
    struct weir_delta_removals removals;
    const uint8_t **erased; /* sorted */
    uint64_t nerased, next_erased;
    struct weir_buf key, erase_key;
    bool erase_key_made;
};

/* What the reader is lent. */
struct reading {
    struct weir_keyed_manifest *manifest; /* NULL: nothing is being restored */
    bool opened, sought, ended;
    uint32_t at;              /* namespace */
    struct weir_buf entries;  /* u64 hash | u32 length, key | u32 length, value: of namespace `space` */
    uint32_t space;           /* index */
    uint64_t hash_first, hash_span;
    uint64_t *seen; /* entries of each namespace */
    struct weir_buf last;
    struct weir_buf key;
};

struct weir_keyed {
    struct weir_work work; /* first member */
    struct weir_delta *delta;
    struct weir_delta_codec codec;
    struct weir_keyed_env env;
    char *prefix; /* of files in a checkpoint's directory */
    enum phase phase;
    /* Lent to the work while it is in flight. */
    struct weir_state_store *store;   /* NULL: none yet */
    struct weir_state_store *retired; /* to be closed */
    struct weir_keyed_manifest *making;
    struct writing writing;
    struct reading reading;
    enum weir_rc rc;
    struct weir_error err;
    /* The task's thread only. */
    uint32_t restored_first, restored_end; /* key groups of the parts so far; both 0: none */
    uint32_t generation; /* of the store */
    bool whole;          /* the snapshot under way is the store's first */
    uint64_t told;       /* newest checkpoint known to be committed */
    uint64_t whole_bytes; /* of the files when the store was new */
    uint64_t store_bytes; /* of the files now */
    struct weir_keyed_manifest *taken[TAKEN_MAX]; /* not known to be committed; the oldest first */
    uint32_t ntaken;
    struct weir_keyed_manifest *committed;
    uint64_t files_bytes, new_bytes;
};

struct weir_keyed *weir_keyed_create(struct weir_delta *delta, const struct weir_delta_codec *codec, const struct weir_keyed_env *env)
{
    struct weir_keyed *keyed = weir_calloc(1, sizeof(*keyed));
    keyed->delta = delta;
    keyed->codec = *codec;
    keyed->env = *env;
    uint64_t uid = env->uid == NULL ? 0 : weir_hash_slice(weir_slice_str(env->uid), 0);
    keyed->prefix = weir_strfmt("%u-%u-%u-%016llx-", env->vertex, codec->subtask, env->attempt, (unsigned long long)uid);
    return keyed;
}

static struct weir_keyed_local local_of(const struct weir_keyed *keyed)
{
    return (struct weir_keyed_local){.store = keyed->env.backend->local, .job_id = keyed->env.job_id, .log = keyed->env.log};
}

static void end_writing(struct weir_keyed *keyed)
{
    struct writing *writing = &keyed->writing;
    for (size_t i = 0; i < writing->nchunks; i++) {
        weir_delta_chunk_destroy(keyed->delta, writing->chunks[i]);
    }
    weir_free(writing->chunks);
    weir_free(writing->erased);
    weir_delta_removals_fini(keyed->delta, &writing->removals);
    weir_buf_fini(&writing->key);
    weir_buf_fini(&writing->erase_key);
    *writing = (struct writing){0};
}

static void end_reading(struct weir_keyed *keyed)
{
    struct reading *reading = &keyed->reading;
    weir_keyed_manifest_destroy(reading->manifest);
    weir_buf_fini(&reading->entries);
    weir_buf_fini(&reading->last);
    weir_buf_fini(&reading->key);
    weir_free(reading->seen);
    *reading = (struct reading){0};
}

void weir_keyed_destroy(struct weir_keyed *keyed)
{
    if (keyed == NULL) {
        return;
    }
    weir_assert(!keyed->work.in_flight);
    end_writing(keyed);
    end_reading(keyed);
    if (keyed->store != NULL) {
        keyed->store->vtable->close(keyed->store);
    }
    if (keyed->retired != NULL) {
        keyed->retired->vtable->close(keyed->retired);
    }
    weir_keyed_manifest_destroy(keyed->making);
    weir_keyed_manifest_destroy(keyed->committed);
    for (uint32_t i = 0; i < keyed->ntaken; i++) {
        weir_keyed_manifest_destroy(keyed->taken[i]);
    }
    weir_free(keyed->prefix);
    weir_free(keyed);
}

uint64_t weir_keyed_files_bytes(const struct weir_keyed *keyed)
{
    return keyed->files_bytes;
}

uint64_t weir_keyed_new_bytes(const struct weir_keyed *keyed)
{
    return keyed->new_bytes;
}

/* --- off the thread: the store ---------------------------------------------------------------------------------------- */

static void close_stores(struct weir_keyed *keyed, bool both)
{
    if (keyed->retired != NULL) {
        keyed->retired->vtable->close(keyed->retired);
        keyed->retired = NULL;
    }
    if (both && keyed->store != NULL) {
        keyed->store->vtable->close(keyed->store);
        keyed->store = NULL;
    }
}

static enum weir_rc create_store(struct weir_keyed *keyed, struct weir_error *err)
{
    char *name = weir_strfmt("%s-%s%u", keyed->env.job_id, keyed->prefix, keyed->generation);
    enum weir_rc rc = keyed->env.backend->create(keyed->env.backend, name, keyed->env.mem, &keyed->store, err);
    weir_free(name);
    return rc;
}

/* Erases the keys up to `key` (all when it is empty), but not `key` itself: it is about to be put. */
static enum weir_rc erase_until(struct weir_keyed *keyed, struct weir_slice key, struct weir_error *err)
{
    struct writing *writing = &keyed->writing;
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && writing->next_erased < writing->nerased) {
        const uint8_t *record = writing->erased[writing->next_erased];
        if (!writing->erase_key_made) {
            weir_state_key_make(&writing->erase_key, (int64_t)weir_le_get_u64(record), weir_le_get_u64(record + 8),
                                weir_slice(record + 20, weir_le_get_u32(record + 16)));
            writing->erase_key_made = true;
        }
        int order = key.len == 0 ? -1 : weir_slice_cmp(weir_buf_slice(&writing->erase_key), key);
        if (order > 0) {
            break;
        }
        if (order < 0) {
            rc = keyed->store->vtable->erase(keyed->store, weir_buf_slice(&writing->erase_key), err);
        }
        writing->next_erased++;
        writing->erase_key_made = false;
    }
    return rc;
}

static enum weir_rc write_chunk(struct weir_keyed *keyed, struct weir_delta_chunk *chunk, struct weir_error *err)
{
    struct writing *writing = &keyed->writing;
    const uint8_t **records = NULL;
    uint32_t count = weir_delta_chunk_sort(chunk, &records);
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; rc == WEIR_OK && i < count; i++) {
        const uint8_t *record = records[i];
        struct weir_slice key = weir_slice(record + 12, weir_le_get_u32(record + 8));
        const uint8_t *value = key.data + key.len;
        weir_state_key_make(&writing->key, chunk->space, weir_le_get_u64(record), key);
        rc = erase_until(keyed, weir_buf_slice(&writing->key), err);
        if (rc == WEIR_OK) {
            rc = keyed->store->vtable->put(keyed->store, weir_buf_slice(&writing->key), weir_slice(value + 4, weir_le_get_u32(value)), err);
        }
    }
    weir_free(records);
    weir_buf_fini(&chunk->entries); /* here: giving back megabytes takes milliseconds, which the task's thread has not got */
    weir_buf_fini(&chunk->saved);
    return rc;
}

static enum weir_rc write_first(struct weir_keyed *keyed, struct weir_error *err)
{
    struct writing *writing = &keyed->writing;
    enum weir_rc rc = WEIR_OK;
    if (keyed->store == NULL) {
        rc = create_store(keyed, err);
        if (rc == WEIR_OK) {
            rc = keyed->store->vtable->open(keyed->store, err);
        }
    }
    if (rc == WEIR_OK && writing->removals.ndropped > 0) {
        rc = keyed->store->vtable->drop(keyed->store, writing->removals.dropped, writing->removals.ndropped, err);
    }
    writing->nerased = weir_delta_removals_sort(&writing->removals, &writing->erased);
    return rc;
}

static enum weir_rc commit(struct weir_keyed *keyed, const char **out_files, struct weir_error *err)
{
    enum weir_rc rc = erase_until(keyed, (struct weir_slice){0}, err);
    return rc == WEIR_OK ? keyed->store->vtable->commit(keyed->store, out_files, err) : rc;
}

static void run_writing(struct weir_work *work)
{
    struct weir_keyed *keyed = (struct weir_keyed *)work;
    struct writing *writing = &keyed->writing;
    struct weir_error *err = &keyed->err;
    close_stores(keyed, false);
    enum weir_rc rc = writing->first ? write_first(keyed, err) : WEIR_OK;
    for (size_t i = 0; rc == WEIR_OK && i < writing->nchunks; i++) {
        rc = write_chunk(keyed, writing->chunks[i], err);
    }
    const char *files = NULL;
    if (rc == WEIR_OK && writing->last) {
        rc = commit(keyed, &files, err);
    }
    if (rc != WEIR_OK) {
        close_stores(keyed, true);
    }
    if (files != NULL) { /* the store has it, whatever becomes of the files: an aborted checkpoint's directory is swept meanwhile */
        struct weir_keyed_local local = local_of(keyed);
        rc = weir_keyed_upload(keyed->env.fs, &local, files, keyed->prefix, keyed->committed, keyed->making, err);
        keyed->store->vtable->release(keyed->store);
    }
    keyed->rc = rc;
}

/* The chunks are written, or will not be. */
static void written(struct weir_work *work)
{
    struct weir_keyed *keyed = (struct weir_keyed *)work;
    struct writing *writing = &keyed->writing;
    for (size_t i = 0; i < writing->nchunks; i++) {
        weir_delta_chunk_destroy(keyed->delta, writing->chunks[i]);
    }
    writing->nchunks = 0;
    writing->first = false;
}

/* --- snapshots -------------------------------------------------------------------------------------------------------- */

static bool is_small(const struct weir_keyed *keyed)
{
    uint64_t bytes = weir_delta_entries(keyed->delta) * weir_delta_slot_bytes(keyed->delta);
    return keyed->env.backend == NULL || (keyed->store == NULL && bytes <= keyed->env.backend->inline_bytes_max);
}

static void begin_manifest(struct weir_keyed *keyed, uint64_t checkpoint)
{
    const struct weir_delta_codec *codec = &keyed->codec;
    char *dir = weir_ckpt_dir_copy(keyed->env.checkpoints_dir, keyed->env.job_id, checkpoint);
    struct weir_keyed_manifest *manifest = weir_keyed_manifest_create(checkpoint, dir);
    weir_free(dir);
    manifest->generation = keyed->generation;
    manifest->max_parallelism = codec->max_parallelism;
    manifest->first_group = weir_key_group_first(codec->subtask, codec->max_parallelism, codec->parallelism);
    manifest->end_group = weir_key_group_first(codec->subtask + 1, codec->max_parallelism, codec->parallelism);
    uint32_t spaces = weir_delta_spaces(keyed->delta);
    manifest->spaces = weir_arena_zalloc(manifest->arena, spaces * sizeof(*manifest->spaces));
    for (uint32_t i = 0; i < spaces; i++) {
        uint64_t entries = weir_delta_space_entries(keyed->delta, i);
        if (entries > 0) {
            manifest->spaces[manifest->nspaces++] =
                (struct weir_keyed_space){.space = weir_delta_space(keyed->delta, i), .entries = entries};
        }
    }
    keyed->making = manifest;
}

void weir_keyed_snapshot(struct weir_keyed *keyed, uint64_t checkpoint, struct weir_buf *out)
{
    weir_assert(keyed->phase == PHASE_IDLE);
    keyed->files_bytes = 0;
    keyed->new_bytes = 0;
    if (is_small(keyed)) {
        weir_delta_encode(keyed->delta, &keyed->codec, out);
        return;
    }
    bool grown = keyed->store_bytes > GROWN_TIMES * keyed->whole_bytes + GROWN_BYTES_MIN;
    if (keyed->store != NULL && (grown || weir_delta_must_be_whole(keyed->delta))) {
        weir_assert(keyed->retired == NULL);
        keyed->retired = keyed->store;
        keyed->store = NULL;
    }
    if (keyed->store == NULL) {
        keyed->generation++;
    }
    keyed->whole = keyed->store == NULL;
    struct weir_delta_freeze freeze = {.whole = keyed->whole, .encode = keyed->codec.encode, .ctx = keyed->codec.ctx};
    begin_manifest(keyed, checkpoint);
    weir_delta_freeze(keyed->delta, &freeze, &keyed->writing.removals);
    keyed->writing.first = true;
    keyed->rc = WEIR_OK;
    keyed->phase = PHASE_WRITING;
}

static void submit(struct weir_keyed *keyed, void (*run)(struct weir_work *), void (*done)(struct weir_work *))
{
    keyed->work.run = run;
    keyed->work.done = done;
    weir_executor_submit(keyed->env.executor, &keyed->work);
}

/* Hands the writer what is ready, if that is worth it. */
static bool submit_ready(struct weir_keyed *keyed, bool more)
{
    struct writing *writing = &keyed->writing;
    if (more && weir_delta_chunk_bytes(keyed->delta) < WRITE_BYTES_MIN) {
        return false;
    }
    for (struct weir_delta_chunk *chunk = weir_delta_take_chunk(keyed->delta); chunk != NULL; chunk = weir_delta_take_chunk(keyed->delta)) {
        writing->chunks = weir_vec_grow(writing->chunks, &writing->chunks_cap, sizeof(*writing->chunks), writing->nchunks + 1);
        writing->chunks[writing->nchunks++] = chunk;
    }
    if (more && writing->nchunks == 0) {
        return false;
    }
    writing->last = !more;
    submit(keyed, run_writing, written);
    return true;
}

/* The newest committed one is what the next upload goes on from. Not while the writer reads it. */
static void note_committed(struct weir_keyed *keyed)
{
    uint32_t i = 0;
    while (i < keyed->ntaken && keyed->taken[i]->checkpoint != keyed->told) {
        i++;
    }
    if (i == keyed->ntaken) {
        return;
    }
    weir_keyed_manifest_destroy(keyed->committed);
    keyed->committed = keyed->taken[i];
    for (uint32_t k = 0; k < i; k++) {
        weir_keyed_manifest_destroy(keyed->taken[k]);
    }
    keyed->ntaken -= i + 1;
    memmove(keyed->taken, keyed->taken + i + 1, keyed->ntaken * sizeof(keyed->taken[0]));
}

static void keep_taken(struct weir_keyed *keyed)
{
    if (keyed->ntaken == TAKEN_MAX) {
        weir_keyed_manifest_destroy(keyed->taken[0]);
        memmove(keyed->taken, keyed->taken + 1, (TAKEN_MAX - 1) * sizeof(keyed->taken[0]));
        keyed->ntaken--;
    }
    keyed->taken[keyed->ntaken++] = keyed->making;
    keyed->making = NULL;
}

static enum weir_rc finish(struct weir_keyed *keyed, struct weir_buf *out, struct weir_error *err)
{
    weir_delta_thaw(keyed->delta, keyed->store != NULL);
    end_writing(keyed);
    keyed->phase = PHASE_IDLE;
    if (keyed->rc != WEIR_OK) {
        weir_keyed_manifest_destroy(keyed->making);
        keyed->making = NULL;
        *err = keyed->err;
        return keyed->rc;
    }
    const struct weir_keyed_manifest *manifest = keyed->making;
    keyed->whole_bytes = keyed->whole ? manifest->bytes : keyed->whole_bytes;
    keyed->store_bytes = manifest->bytes;
    keyed->files_bytes = manifest->bytes;
    keyed->new_bytes = manifest->new_bytes;
    weir_keyed_manifest_encode(manifest, out);
    keep_taken(keyed);
    note_committed(keyed);
    return WEIR_OK;
}

enum weir_rc weir_keyed_background(struct weir_keyed *keyed, struct weir_buf *out, bool *out_any, struct weir_error *err)
{
    if (keyed->phase != PHASE_WRITING) {
        return WEIR_OK;
    }
    bool in_flight = keyed->work.in_flight;
    if (!in_flight && (keyed->rc != WEIR_OK || keyed->writing.last)) {
        *out_any = true;
        return finish(keyed, out, err);
    }
    uint64_t backlog = weir_delta_chunk_bytes(keyed->delta);
    bool waits = in_flight && (keyed->writing.last || backlog >= BACKLOG_BYTES_MAX ||
                               (backlog >= WRITE_BYTES_MIN && weir_mem_full(keyed->env.mem)));
    if (waits) {
        return WEIR_AGAIN;
    }
    bool more = weir_delta_capture(keyed->delta, CAPTURE_ENTRIES);
    *out_any = *out_any || more;
    if (!in_flight) {
        *out_any = submit_ready(keyed, more) || *out_any;
    }
    return WEIR_AGAIN;
}

void weir_keyed_notify(struct weir_keyed *keyed, uint64_t checkpoint)
{
    keyed->told = checkpoint > keyed->told ? checkpoint : keyed->told;
    if (!keyed->work.in_flight) {
        note_committed(keyed);
    }
}

/* --- restoring: off the thread ---------------------------------------------------------------------------------------- */

static bool is_own(const struct reading *reading, uint64_t hash)
{
    return reading->hash_span == 0 || hash - reading->hash_first < reading->hash_span;
}

static enum weir_rc corrupt(struct weir_error *err, const char *what)
{
    return weir_error_set(err, WEIR_CORRUPT, "keyed state: %s", what);
}

static enum weir_rc check_entry(const struct reading *reading, struct weir_slice key, struct weir_error *err)
{
    if (key.len < WEIR_STATE_KEY_HEAD || key.len - WEIR_STATE_KEY_HEAD >= WEIR_DELTA_KEY_BYTES_MAX) {
        return corrupt(err, "a key has an impossible length");
    }
    struct weir_slice rest = weir_slice(key.data + WEIR_STATE_KEY_HEAD, key.len - WEIR_STATE_KEY_HEAD);
    if (weir_hash_slice(rest, 0) != weir_state_key_hash(key)) {
        return corrupt(err, "a key does not have the hash that is written with it");
    }
    if (reading->last.len > 0 && weir_slice_cmp(weir_buf_slice(&reading->last), key) >= 0) {
        return corrupt(err, "keys are out of order");
    }
    return WEIR_OK;
}

/* Reads on in the namespace at hand until the buffer is full or the namespace is through. */
static enum weir_rc read_space(struct weir_keyed *keyed, bool *out_through, struct weir_error *err)
{
    struct reading *reading = &keyed->reading;
    int64_t space = reading->manifest->spaces[reading->at].space;
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && reading->entries.len < READ_BYTES) {
        struct weir_slice key, value;
        rc = keyed->store->vtable->next(keyed->store, &key, &value, err);
        bool through = rc == WEIR_END;
        if (rc == WEIR_OK) {
            rc = check_entry(reading, key, err);
            through = rc == WEIR_OK && (weir_state_key_space(key) != space || !is_own(reading, weir_state_key_hash(key)));
        }
        if (through) {
            *out_through = true;
            return WEIR_OK;
        }
        if (rc == WEIR_OK) {
            weir_buf_clear(&reading->last);
            weir_buf_put_slice(&reading->last, key);
            weir_buf_put_u64(&reading->entries, weir_state_key_hash(key));
            weir_buf_put_bytes(&reading->entries, weir_slice(key.data + WEIR_STATE_KEY_HEAD, key.len - WEIR_STATE_KEY_HEAD));
            weir_buf_put_bytes(&reading->entries, value);
            reading->seen[reading->at]++;
        }
    }
    return rc;
}

static enum weir_rc read_some(struct weir_keyed *keyed, struct weir_error *err)
{
    struct reading *reading = &keyed->reading;
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && reading->entries.len == 0 && reading->at < reading->manifest->nspaces) {
        bool through = false;
        if (!reading->sought) {
            weir_state_key_make(&reading->key, reading->manifest->spaces[reading->at].space, reading->hash_first, (struct weir_slice){0});
            weir_buf_clear(&reading->last);
            rc = keyed->store->vtable->seek(keyed->store, weir_buf_slice(&reading->key), err);
            reading->sought = true;
        }
        if (rc == WEIR_OK) {
            reading->space = reading->at;
            rc = read_space(keyed, &through, err);
        }
        if (through) {
            reading->at++;
            reading->sought = false;
        }
    }
    reading->ended = reading->at == reading->manifest->nspaces;
    return rc;
}

static void run_reading(struct weir_work *work)
{
    struct weir_keyed *keyed = (struct weir_keyed *)work;
    struct reading *reading = &keyed->reading;
    struct weir_error *err = &keyed->err;
    enum weir_rc rc = WEIR_OK;
    if (!reading->opened) {
        close_stores(keyed, true); /* another part's */
        rc = create_store(keyed, err);
        if (rc == WEIR_OK) {
            struct weir_keyed_local local = local_of(keyed);
            rc = weir_keyed_fetch(keyed->env.fs, &local, reading->manifest, keyed->store->dir, err);
        }
        if (rc == WEIR_OK) {
            rc = keyed->store->vtable->open(keyed->store, err);
        }
        reading->opened = rc == WEIR_OK;
    }
    if (rc == WEIR_OK) {
        rc = read_some(keyed, err);
    }
    keyed->rc = rc;
}

static void was_read(struct weir_work *work)
{
    (void)work; /* weir_keyed_resume looks */
}

/* --- restoring: the task's thread ------------------------------------------------------------------------------------- */

static enum weir_rc add_block(struct weir_keyed *keyed, const int64_t *spaces, const uint64_t *hashes, const struct weir_slice *keys,
                              const struct weir_slice *values, uint32_t count, struct weir_error *err)
{
    uint8_t *payloads[ADD_ENTRIES];
    bool created[ADD_ENTRIES];
    enum weir_rc rc = weir_delta_get_many(keyed->delta, spaces, hashes, keys, count, payloads, created);
    if (rc == WEIR_AGAIN) {
        return weir_error_set(err, WEIR_RESOURCE,
                              "no memory to restore more than %llu keys of state, %llu of %llu bytes of the budget in use; raise "
                              "taskmanager.memory.size",
                              (unsigned long long)weir_delta_entries(keyed->delta), (unsigned long long)weir_mem_used(keyed->env.mem),
                              (unsigned long long)weir_mem_limit(keyed->env.mem));
    }
    for (uint32_t i = 0; i < count && rc == WEIR_OK; i++) {
        rc = created[i] ? keyed->codec.decode(keyed->codec.ctx, values[i], payloads[i], err) : corrupt(err, "a key stands in it twice");
    }
    return rc;
}

static enum weir_rc add_entries(struct weir_keyed *keyed, struct weir_error *err)
{
    struct reading *reading = &keyed->reading;
    struct weir_reader reader = weir_reader(weir_buf_slice(&reading->entries));
    int64_t space = reading->manifest->spaces[reading->space].space;
    int64_t spaces[ADD_ENTRIES];
    uint64_t hashes[ADD_ENTRIES];
    struct weir_slice keys[ADD_ENTRIES];
    struct weir_slice values[ADD_ENTRIES];
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && reader.rest.len > 0) {
        uint32_t count = 0;
        for (; count < ADD_ENTRIES && reader.rest.len > 0; count++) {
            spaces[count] = space;
            hashes[count] = weir_read_u64(&reader);
            keys[count] = weir_read_bytes(&reader);
            values[count] = weir_read_bytes(&reader);
        }
        weir_assert(!reader.failed);
        rc = add_block(keyed, spaces, hashes, keys, values, count, err);
    }
    weir_buf_clear(&reading->entries);
    return rc;
}

/* Everything was read: whether it was all there, and what becomes of the store. */
static enum weir_rc end_restore(struct weir_keyed *keyed, struct weir_error *err)
{
    struct reading *reading = &keyed->reading;
    struct weir_keyed_manifest *manifest = reading->manifest;
    const struct weir_delta_codec *codec = &keyed->codec;
    uint32_t first = weir_key_group_first(codec->subtask, codec->max_parallelism, codec->parallelism);
    uint32_t end = weir_key_group_first(codec->subtask + 1, codec->max_parallelism, codec->parallelism);
    uint64_t total = 0;
    for (uint32_t i = 0; i < manifest->nspaces; i++) {
        total += reading->seen[i];
        bool all = first <= manifest->first_group && end >= manifest->end_group;
        if (all ? reading->seen[i] != manifest->spaces[i].entries : reading->seen[i] > manifest->spaces[i].entries) {
            return corrupt(err, "entries are missing, or too many");
        }
    }
    if (first == manifest->first_group && end == manifest->end_group && total == weir_delta_entries(keyed->delta)) {
        weir_delta_set_durable(keyed->delta);
        keyed->whole_bytes = manifest->bytes;
        keyed->store_bytes = manifest->bytes;
        weir_keyed_manifest_destroy(keyed->committed);
        manifest->generation = keyed->generation;
        keyed->committed = manifest;
        reading->manifest = NULL;
    } else {
        keyed->retired = keyed->store; /* one store holds one writer's groups */
        keyed->store = NULL;
    }
    return WEIR_OK;
}

enum weir_rc weir_keyed_resume(struct weir_keyed *keyed, struct weir_error *err)
{
    if (keyed->phase != PHASE_RESTORING) {
        return WEIR_OK;
    }
    if (keyed->work.in_flight) {
        return WEIR_AGAIN;
    }
    enum weir_rc rc = keyed->rc;
    if (rc != WEIR_OK) {
        *err = keyed->err;
    } else {
        rc = add_entries(keyed, err);
    }
    if (rc == WEIR_OK && !keyed->reading.ended) {
        submit(keyed, run_reading, was_read);
        return WEIR_AGAIN;
    }
    rc = rc == WEIR_OK ? end_restore(keyed, err) : rc;
    end_reading(keyed);
    keyed->phase = PHASE_IDLE;
    return rc;
}

static enum weir_rc begin_reading(struct weir_keyed *keyed, struct weir_keyed_manifest *manifest, struct weir_error *err)
{
    const struct weir_delta_codec *codec = &keyed->codec;
    struct reading *reading = &keyed->reading;
    reading->manifest = manifest;
    reading->seen = weir_calloc(manifest->nspaces, sizeof(*reading->seen));
    if (manifest->max_parallelism != codec->max_parallelism) {
        return weir_error_set(err, WEIR_INVALID,
                              "keyed state was written with a maximal parallelism of %u, the job has %u: it cannot change while there is state",
                              manifest->max_parallelism, codec->max_parallelism);
    }
    struct weir_delta_options own = {0};
    weir_delta_own_groups(&own, codec->subtask, codec->parallelism, codec->max_parallelism);
    reading->hash_first = own.hash_first;
    reading->hash_span = own.hash_span;
    uint32_t first = weir_key_group_first(codec->subtask, codec->max_parallelism, codec->parallelism);
    uint32_t end = weir_key_group_first(codec->subtask + 1, codec->max_parallelism, codec->parallelism);
    first = first > manifest->first_group ? first : manifest->first_group;
    end = end < manifest->end_group ? end : manifest->end_group;
    for (uint32_t i = 0; i < manifest->nspaces; i++) {
        if (!codec->space_fits(codec->ctx, manifest->spaces[i].space)) {
            return corrupt(err, "a namespace cannot be");
        }
        unsigned __int128 share = first >= end ? 0 : (unsigned __int128)manifest->spaces[i].entries * (end - first);
        share /= manifest->end_group - manifest->first_group;
        if (share > 0 && share <= manifest->bytes) { /* an entry has more than a byte: what is damaged is not believed */
            weir_delta_reserve(keyed->delta, manifest->spaces[i].space, (uint64_t)share);
        }
    }
    return WEIR_OK;
}

static uint32_t own_first(const struct weir_keyed *keyed)
{
    return weir_key_group_first(keyed->codec.subtask, keyed->codec.max_parallelism, keyed->codec.parallelism);
}

static uint32_t own_end(const struct weir_keyed *keyed)
{
    return weir_key_group_first(keyed->codec.subtask + 1, keyed->codec.max_parallelism, keyed->codec.parallelism);
}

/* Both forms of a state have its writer's key groups at the same place. */
static enum weir_rc join_part(struct weir_keyed *keyed, struct weir_slice bytes, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    (void)weir_read_u8(&reader);
    (void)weir_read_u32(&reader);
    uint32_t first = weir_read_u32(&reader);
    uint32_t end = weir_read_u32(&reader);
    weir_assert(!reader.failed); /* it was decoded */
    if (keyed->restored_end != 0 && first != keyed->restored_end) {
        return corrupt(err, "its parts do not follow each other");
    }
    keyed->restored_first = keyed->restored_end == 0 ? first : keyed->restored_first;
    keyed->restored_end = end;
    return WEIR_OK;
}

enum weir_rc weir_keyed_restored(const struct weir_keyed *keyed, struct weir_error *err)
{
    if (keyed->restored_first > own_first(keyed) || keyed->restored_end < own_end(keyed)) {
        return weir_error_set(err, WEIR_CORRUPT, "keyed state: key groups %u to %u are wanted, the checkpoint has %u to %u", own_first(keyed),
                              own_end(keyed), keyed->restored_first, keyed->restored_end);
    }
    return WEIR_OK;
}

enum weir_rc weir_keyed_restore(struct weir_keyed *keyed, uint64_t checkpoint, const char *dir, struct weir_slice bytes, struct weir_error *err)
{
    weir_assert(keyed->phase == PHASE_IDLE);
    if (bytes.len == 0 || bytes.data[0] != WEIR_KEYED_FILES_VERSION) {
        enum weir_rc rc = weir_delta_decode(keyed->delta, &keyed->codec, bytes, err);
        return rc != WEIR_OK ? rc : join_part(keyed, bytes, err);
    }
    struct weir_keyed_manifest *manifest = NULL;
    enum weir_rc rc = weir_keyed_manifest_decode(bytes, checkpoint, dir == NULL ? "" : dir, &manifest, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = join_part(keyed, bytes, err);
    if (rc == WEIR_OK && keyed->env.backend == NULL) {
        rc = weir_error_set(err, WEIR_UNSUPPORTED, "keyed state in files, and there is no store to read them");
    }
    if (rc != WEIR_OK) {
        weir_keyed_manifest_destroy(manifest);
        return rc;
    }
    rc = begin_reading(keyed, manifest, err);
    bool none = own_end(keyed) <= manifest->first_group || own_first(keyed) >= manifest->end_group;
    if (rc != WEIR_OK || none) {
        end_reading(keyed);
        return rc;
    }
    keyed->generation++;
    keyed->phase = PHASE_RESTORING;
    submit(keyed, run_reading, was_read);
    return WEIR_AGAIN;
}
