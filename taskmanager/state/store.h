/*
 * Where keyed state goes at checkpoints: an ordered store of keys and values in a local directory, whose files can be listed as of a moment.
 * Behind it is RocksDB (state/rocks.h), and a plain one for tests (tests/lib/plain_store.h).
 *
 * T1  A key is: i64 namespace (big endian, sign bit flipped) | u64 hash (big endian) | the key's bytes; the store's order is memcmp's. So the
 *     order is that in which a delta gives its entries out, a dropped namespace is one range, and the key groups of a subtask (the top of the
 *     hash) are one range in each namespace.
 * T2  Between two commits keys are put and erased in ascending order, each once, after all drops. Nothing of it is to be seen before commit.
 * T3  Every file is either immutable once it has its name (*.sst) or small.
 * T4  A store is working memory: it is never opened again by another process, and close removes it.
 *
 * All calls block. One thread at a time; a backend any number.
 */
#ifndef WEIR_TASKMANAGER_STATE_STORE_H
#define WEIR_TASKMANAGER_STATE_STORE_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/mem.h"

struct weir_local_store;
struct weir_state_store;

struct weir_state_store_vtable {
    /* Opens what lies in the directory; nothing: an empty store. CORRUPT, IO. */
    enum weir_rc (*open)(struct weir_state_store *store, struct weir_error *err);
    enum weir_rc (*drop)(struct weir_state_store *store, const int64_t *spaces, size_t count, struct weir_error *err);
    enum weir_rc (*put)(struct weir_state_store *store, struct weir_slice key, struct weir_slice value, struct weir_error *err);
    enum weir_rc (*erase)(struct weir_state_store *store, struct weir_slice key, struct weir_error *err);
    /* What came since the last commit takes effect. The store's files as of now have names in the directory *out_files until release. After an
     * error only close is possible. */
    enum weir_rc (*commit)(struct weir_state_store *store, const char **out_files, struct weir_error *err);
    void (*release)(struct weir_state_store *store);
    /* Reads what is committed: seek goes to the first key >= key; next gives keys and values, borrowed until the next call. END. CORRUPT, IO. */
    enum weir_rc (*seek)(struct weir_state_store *store, struct weir_slice key, struct weir_error *err);
    enum weir_rc (*next)(struct weir_state_store *store, struct weir_slice *out_key, struct weir_slice *out_value, struct weir_error *err);
    void (*close)(struct weir_state_store *store); /* also one that is not open */
};

struct weir_state_store {
    const struct weir_state_store_vtable *vtable;
    const char *dir; /* exists from create to close; whoever restores puts files here before open */
};

struct weir_state_backend {
    /* A store in a new, empty directory with this in its name. Its memory is charged to mem. IO, RESOURCE. */
    enum weir_rc (*create)(struct weir_state_backend *backend, const char *name, struct weir_mem *mem, struct weir_state_store **out_store,
                           struct weir_error *err);
    /* A state that takes up to so many bytes has no store: it goes whole into the task's file. */
    uint64_t inline_bytes_max;
    /* Copies, on this machine, of the files of checkpoints; set by whoever owns the backend. NULL: none. */
    struct weir_local_store *local;
};

enum { WEIR_STATE_KEY_HEAD = 16 };

/* Replaces out by the key of T1. */
static inline void weir_state_key_make(struct weir_buf *out, int64_t space, uint64_t hash, struct weir_slice key)
{
    uint8_t head[WEIR_STATE_KEY_HEAD];
    uint64_t biased = __builtin_bswap64((uint64_t)space ^ (1ull << 63));
    hash = __builtin_bswap64(hash);
    __builtin_memcpy(head, &biased, 8);
    __builtin_memcpy(head + 8, &hash, 8);
    weir_buf_clear(out);
    weir_buf_put(out, head, sizeof(head));
    weir_buf_put_slice(out, key);
}

/* The parts of a key that is long enough. */
static inline int64_t weir_state_key_space(struct weir_slice key)
{
    uint64_t biased;
    __builtin_memcpy(&biased, key.data, 8);
    return (int64_t)(__builtin_bswap64(biased) ^ (1ull << 63));
}

static inline uint64_t weir_state_key_hash(struct weir_slice key)
{
    uint64_t hash;
    __builtin_memcpy(&hash, key.data + 8, 8);
    return __builtin_bswap64(hash);
}

#endif
