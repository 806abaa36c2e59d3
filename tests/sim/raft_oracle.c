#include "tests/sim/raft_oracle.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <stdarg.h>
#include <stdio.h>

enum { ITEMS_MAX = 1 << 17, TERMS_MAX = 1 << 14, VOTERS_MAX = 512 };

struct committed {
    const struct weir_raft_item *item;
    uint64_t term; /* of the first one who said so */
};

struct voter {
    uint64_t id, term, voted_for;
};

struct weir_raft_oracle {
    struct weir_raft_item **items; /* open addressing */
    size_t nitems;
    uint64_t *leaders; /* by term; 0: none */
    struct voter voters[VOTERS_MAX];
    uint32_t nvoters;
    struct committed *committed; /* index 1 first */
    size_t ncommitted, committed_cap;
    const struct weir_raft_item *members;
    bool failed;
    struct weir_error err;
};

struct weir_raft_oracle *weir_raft_oracle_create(void)
{
    struct weir_raft_oracle *oracle = weir_calloc(1, sizeof(*oracle));
    oracle->items = weir_calloc(ITEMS_MAX, sizeof(*oracle->items));
    oracle->leaders = weir_calloc(TERMS_MAX, sizeof(*oracle->leaders));
    return oracle;
}

void weir_raft_oracle_destroy(struct weir_raft_oracle *oracle)
{
    if (oracle == NULL) {
        return;
    }
    for (size_t i = 0; i < ITEMS_MAX; i++) {
        if (oracle->items[i] != NULL) {
            weir_free((void *)(uintptr_t)oracle->items[i]->data.data);
            weir_free(oracle->items[i]);
        }
    }
    weir_free(oracle->items);
    weir_free(oracle->leaders);
    weir_free(oracle->committed);
    weir_free(oracle);
}

const struct weir_error *weir_raft_oracle_failure(const struct weir_raft_oracle *oracle)
{
    return oracle->failed ? &oracle->err : NULL;
}

void weir_raft_oracle_fail(struct weir_raft_oracle *oracle, const char *format, ...)
{
    char text[WEIR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!oracle->failed) {
        oracle->failed = true;
        (void)weir_error_set(&oracle->err, WEIR_INVALID, "%s", text);
    }
}

static uint64_t chain_of(uint64_t before, const struct weir_raft_entry *entry)
{
    uint64_t hash = weir_hash_combine(weir_hash_u64(before, entry->term), weir_hash_slice(entry->data, (uint64_t)entry->kind));
    return hash | 1; /* 0: before the first entry */
}

const struct weir_raft_item *weir_raft_oracle_item(struct weir_raft_oracle *oracle, uint64_t index, const struct weir_raft_entry *entry,
                                                   uint64_t chain_before)
{
    uint64_t chain = chain_of(chain_before, entry);
    size_t at = weir_hash_u64(index, entry->term) % ITEMS_MAX;
    for (; oracle->items[at] != NULL; at = (at + 1) % ITEMS_MAX) {
        if (oracle->items[at]->index == index && oracle->items[at]->term == entry->term) {
            if (oracle->items[at]->chain != chain) {
                weir_raft_oracle_fail(oracle, "log matching: entry %lu of term %lu is two", (unsigned long)index, (unsigned long)entry->term);
            }
            return oracle->items[at];
        }
    }
    weir_assert(++oracle->nitems < ITEMS_MAX / 2);
    struct weir_raft_item *item = weir_calloc(1, sizeof(*item));
    *item = (struct weir_raft_item){.index = index, .term = entry->term, .kind = entry->kind, .chain = chain};
    item->data = weir_slice(entry->data.len == 0 ? NULL : weir_strndup(entry->data.data, entry->data.len), entry->data.len);
    oracle->items[at] = item;
    return item;
}

void weir_raft_oracle_vote(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term, uint64_t voted_for)
{
    uint32_t i = 0;
    while (i < oracle->nvoters && oracle->voters[i].id != id) {
        i++;
    }
    if (i == oracle->nvoters) {
        weir_assert(oracle->nvoters < VOTERS_MAX);
        oracle->voters[oracle->nvoters++] = (struct voter){.id = id};
    }
    struct voter *voter = &oracle->voters[i];
    if (term < voter->term) {
        weir_raft_oracle_fail(oracle, "member %lu goes back from term %lu to %lu", (unsigned long)id, (unsigned long)voter->term,
                              (unsigned long)term);
    }
    if (term == voter->term && voter->voted_for != 0 && voter->voted_for != voted_for) {
        weir_raft_oracle_fail(oracle, "member %lu votes in term %lu for %lu and for %lu", (unsigned long)id, (unsigned long)term,
                              (unsigned long)voter->voted_for, (unsigned long)voted_for);
    }
    voter->term = term;
    voter->voted_for = voted_for;
}

const struct weir_raft_item *weir_raft_oracle_lead(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term)
{
    weir_assert(term < TERMS_MAX);
    if (oracle->leaders[term] != 0) { /* also the same one: a leadership is an epoch, which is used once */
        weir_raft_oracle_fail(oracle, "election safety: members %lu and %lu both lead term %lu", (unsigned long)oracle->leaders[term],
                              (unsigned long)id, (unsigned long)term);
    }
    oracle->leaders[term] = id;
    for (size_t i = oracle->ncommitted; i > 0; i--) {
        if (oracle->committed[i - 1].term < term) {
            return oracle->committed[i - 1].item;
        }
    }
    return NULL;
}

bool weir_raft_oracle_commit(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term, const struct weir_raft_item *item)
{
    if (item->index <= oracle->ncommitted) {
        if (oracle->committed[item->index - 1].item != item) {
            weir_raft_oracle_fail(oracle, "state-machine safety: member %lu commits entry %lu of term %lu, others that of term %lu",
                                  (unsigned long)id, (unsigned long)item->index, (unsigned long)item->term,
                                  (unsigned long)oracle->committed[item->index - 1].item->term);
        }
        return false;
    }
    if (item->index != oracle->ncommitted + 1) {
        weir_raft_oracle_fail(oracle, "member %lu commits entry %lu, nobody the one before", (unsigned long)id, (unsigned long)item->index);
        return false;
    }
    oracle->committed = weir_vec_grow(oracle->committed, &oracle->committed_cap, sizeof(*oracle->committed), oracle->ncommitted + 1);
    oracle->committed[oracle->ncommitted++] = (struct committed){.item = item, .term = term};
    if (item->kind == WEIR_RAFT_CHANGE) {
        oracle->members = item;
    }
    return true;
}

uint64_t weir_raft_oracle_committed(const struct weir_raft_oracle *oracle)
{
    return oracle->ncommitted;
}

const struct weir_raft_item *weir_raft_oracle_at(const struct weir_raft_oracle *oracle, uint64_t index)
{
    return index == 0 || index > oracle->ncommitted ? NULL : oracle->committed[index - 1].item;
}

const struct weir_raft_item *weir_raft_oracle_members(const struct weir_raft_oracle *oracle)
{
    return oracle->members;
}
