/*
 * Raft's messages as bytes (raft.proto), and the two of our own (R6). What comes from outside is checked here for everything the library takes
 * for granted (its assertions are compiled out): see R5 in raft_core.h.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CODEC_H
#define WEIR_JOBMANAGER_HA_RAFT_CODEC_H

#include "jobmanager/ha/raft_core.h"

#include <raft.h>

/* A question of (R6), or its answer. */
struct weir_raft_confirm {
    bool answer;
    uint64_t term, number; /* number: never 0 */
};

/* Appends the message. entries: those of an APPEND_ENTRIES (the library does not fill them in); snapshot: of an INSTALL_SNAPSHOT. */
void weir_raft_message_encode(const struct raft_message *message, const struct weir_raft_entry *entries, const struct weir_raft_snapshot *snapshot,
                              struct weir_buf *out);

void weir_raft_confirm_encode(const struct weir_raft_confirm *confirm, struct weir_buf *out); /* appends */

/* One that is not the library's has the type 0, and is in *out_confirm, which is not touched otherwise. Memory of entries, members and data is the
 * library's (raft_malloc), in one batch, as raft_step wants it; weir_raft_message_drop frees it. INVALID: names what is wrong. */
enum weir_rc weir_raft_message_decode(struct weir_slice bytes, uint64_t from, struct raft_message *out_message,
                                      struct weir_raft_confirm *out_confirm, struct weir_error *err) WEIR_CHECKED;
void weir_raft_message_drop(struct raft_message *message);

#endif
