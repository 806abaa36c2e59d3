/*
 * What was found on the disk must be a log: the library takes that for granted.
 */
#include "jobmanager/ha/raft_core_private.h"

static enum weir_rc check_boot_snapshot(const struct weir_raft_boot *boot, struct weir_error *err)
{
    const struct weir_raft_snapshot *snapshot = boot->snapshot;
    if (snapshot == NULL) {
        return WEIR_OK;
    }
    if (snapshot->index == 0 || snapshot->term == 0 || snapshot->term > boot->term || snapshot->members_index == 0 ||
        snapshot->members_index > snapshot->index) {
        return weir_error_set(err, WEIR_CORRUPT, "the snapshot at %lu of term %lu, with members of %lu, does not go with term %lu",
                              (unsigned long)snapshot->index, (unsigned long)snapshot->term, (unsigned long)snapshot->members_index,
                              (unsigned long)boot->term);
    }
    if (weir__raft_members_check(snapshot->members, err) != WEIR_OK) {
        return weir_error_set(err, WEIR_CORRUPT, "the snapshot at %lu: its members cannot be read", (unsigned long)snapshot->index);
    }
    return WEIR_OK;
}

static enum weir_rc check_boot_entries(const struct weir_raft_boot *boot, struct weir_error *err)
{
    uint64_t term = 0;
    for (uint32_t i = 0; i < boot->count; i++) {
        const struct weir_raft_entry *entry = &boot->entries[i];
        uint64_t index = boot->first + i;
        bool known = entry->kind == WEIR_RAFT_COMMAND || entry->kind == WEIR_RAFT_BARRIER || entry->kind == WEIR_RAFT_CHANGE;
        if (!known || entry->term == 0 || entry->term < term || entry->term > boot->term ||
            (entry->kind == WEIR_RAFT_CHANGE && weir__raft_members_check(entry->data, err) != WEIR_OK)) {
            return weir_error_set(err, WEIR_CORRUPT, "entry %lu of the log, of term %lu and kind %d, contradicts what is before it",
                                  (unsigned long)index, (unsigned long)entry->term, (int)entry->kind);
        }
        if (boot->snapshot != NULL && index == boot->snapshot->index && entry->term != boot->snapshot->term) {
            return weir_error_set(err, WEIR_CORRUPT, "entry %lu of the log is of term %lu, and of %lu in the snapshot", (unsigned long)index,
                                  (unsigned long)entry->term, (unsigned long)boot->snapshot->term);
        }
        term = entry->term;
    }
    return WEIR_OK;
}

enum weir_rc weir__raft_boot_check(const struct weir_raft_boot *boot, struct weir_error *err)
{
    uint64_t through = boot->snapshot == NULL ? 0 : boot->snapshot->index;
    if (boot->term == 0 && (boot->voted_for != 0 || boot->snapshot != NULL || boot->count > 0)) {
        return weir_error_set(err, WEIR_CORRUPT, "there is a log, but no term");
    }
    enum weir_rc rc = check_boot_snapshot(boot, err);
    if (rc != WEIR_OK || boot->count == 0) {
        return rc;
    }
    if (boot->first == 0 || boot->first > through + 1 || boot->first + boot->count - 1 < through) {
        return weir_error_set(err, WEIR_CORRUPT, "the log has entries %lu to %lu, the snapshot goes to %lu", (unsigned long)boot->first,
                              (unsigned long)(boot->first + boot->count - 1), (unsigned long)through);
    }
    if (through == 0 && boot->entries[0].kind != WEIR_RAFT_CHANGE) {
        return weir_error_set(err, WEIR_CORRUPT, "the log does not begin with its founding members");
    }
    return check_boot_entries(boot, err);
}
