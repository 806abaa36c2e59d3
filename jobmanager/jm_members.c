#include "jobmanager/jm_members.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/net/address.h"

enum weir_rc weir_jm_address_check(struct weir_slice address, struct weir_error *err)
{
    if (!weir_address_valid(address)) {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is no JobManager's address: expected host:port with a port from 1 to 65535",
                              WEIR_SLICE_ARG(address));
    }
    return WEIR_OK;
}

static enum weir_rc add(struct weir_jm_founders *founders, struct weir_slice address, const char *own_address, struct weir_error *err)
{
    enum weir_rc rc = weir_jm_address_check(address, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < founders->count; i++) {
        if (weir_slice_eq_str(address, founders->items[i].address)) {
            rc = weir_error_set(err, WEIR_INVALID, "%.*s is listed twice", WEIR_SLICE_ARG(address));
        }
    }
    if (rc == WEIR_OK && founders->count == WEIR_JM_FOUNDERS_MAX) {
        rc = weir_error_set(err, WEIR_INVALID, "there are more than %d; expected 1, 3 or 5", WEIR_JM_FOUNDERS_MAX);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    if (weir_slice_eq_str(address, own_address)) {
        founders->own = founders->count;
    }
    founders->items[founders->count++] = (struct weir_jm_founder){.address = weir_strndup(address.data, address.len),
                                                                  .id = weir_hash_slice(address, 0) | 1};
    return WEIR_OK;
}

static enum weir_rc parse(const char *list, const char *own_address, bool joins, struct weir_jm_founders *founders, struct weir_error *err)
{
    for (const char *at = list;; at++) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, ",");
        size_t used = len;
        while (used > 0 && (at[used - 1] == ' ' || at[used - 1] == '\t')) {
            used--;
        }
        enum weir_rc rc = add(founders, weir_slice(at, used), own_address, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    if (founders->count % 2 == 0) {
        return weir_error_set(err, WEIR_INVALID,
                              "there are %u; expected 1, 3 or 5: a majority decides, so that an even number survives no more losses than one less",
                              founders->count);
    }
    if (founders->own == WEIR_JM_NOBODY && !joins) {
        return weir_error_set(err, WEIR_INVALID,
                              "%s (jobmanager.rpc.address and jobmanager.rpc.port) is not among them: add it in these words, or set jobmanager.join if it "
                              "is to replace one of them",
                              own_address);
    }
    return WEIR_OK;
}

enum weir_rc weir_jm_founders_parse(const char *list, const char *own_address, bool joins, struct weir_jm_founders *out_founders,
                                    struct weir_error *err)
{
    struct weir_jm_founders founders = {.own = WEIR_JM_NOBODY};
    enum weir_rc rc = WEIR_OK;
    if (list[strspn(list, " \t")] != '\0') {
        rc = parse(list, own_address, joins, &founders, err);
        if (rc != WEIR_OK) {
            (void)weir_error_prefix(err, "cluster.jobmanagers");
        }
    } else if (joins) {
        rc = weir_error_set(err, WEIR_INVALID, "jobmanager.join is set, but cluster.jobmanagers does not say whom to join: list the present ones");
    } else {
        founders.items[0] = (struct weir_jm_founder){.address = weir_strdup(own_address), .id = 1};
        founders.count = 1;
        founders.own = 0;
    }
    if (rc == WEIR_OK) {
        *out_founders = founders;
    } else {
        weir_jm_founders_fini(&founders);
    }
    return rc;
}

void weir_jm_founders_fini(struct weir_jm_founders *founders)
{
    for (uint32_t i = 0; i < founders->count; i++) {
        weir_free(founders->items[i].address);
    }
    *founders = (struct weir_jm_founders){0};
}

/* --- by what others say ----------------------------------------------------------------------------------------------- */
bool weir_jm_named_newer(const struct weir_jm_named *named, uint64_t log_term, uint64_t log_index)
{
    return named->log_term != log_term ? named->log_term > log_term : named->log_index > log_index;
}

static enum weir_rc check_word(const struct weir_jm_word *word, struct weir_error *err)
{
    if (word->count == 0 || word->count > WEIR_RAFT_MEMBERS_MAX || word->log_term == 0 || word->log_index == 0) {
        return weir_error_set(err, WEIR_INVALID, "%zu members of a cluster by a log that ends at entry %llu of term %llu", word->count,
                              (unsigned long long)word->log_index, (unsigned long long)word->log_term);
    }
    enum weir_rc rc = WEIR_OK;
    for (size_t i = 0; rc == WEIR_OK && i < word->count; i++) {
        rc = weir_jm_address_check(weir_slice_str(word->addresses[i]), err);
    }
    return rc;
}

static bool names(const struct weir_jm_named *named, const char *address)
{
    uint32_t i = 0;
    while (i < named->count && strcmp(named->addresses[i], address) != 0) {
        i++;
    }
    return i < named->count;
}

enum weir_rc weir_jm_named_take(struct weir_jm_named *named, const struct weir_jm_word *word, bool *out_changed, struct weir_error *err)
{
    enum weir_rc rc = check_word(word, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_changed = false;
    if (weir_jm_named_newer(named, word->log_term, word->log_index)) {
        return WEIR_OK;
    }
    struct weir_jm_named next = {.log_term = word->log_term, .log_index = word->log_index};
    for (size_t i = 0; i < word->count; i++) {
        if (!names(&next, word->addresses[i])) {
            next.addresses[next.count++] = weir_strdup(word->addresses[i]);
        }
    }
    *out_changed = next.count != named->count;
    for (uint32_t i = 0; i < next.count; i++) {
        *out_changed = *out_changed || !names(named, next.addresses[i]);
    }
    weir_jm_named_fini(named);
    *named = next;
    return WEIR_OK;
}

void weir_jm_named_fini(struct weir_jm_named *named)
{
    for (uint32_t i = 0; i < named->count; i++) {
        weir_free(named->addresses[i]);
    }
    *named = (struct weir_jm_named){0};
}
