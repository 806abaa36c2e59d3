/*
 * Raft's messages as bytes (raft.proto). What comes from outside is checked here for everything the library takes for granted (its assertions
 * are compiled out): see R5 in raft_core.h.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CODEC_H
#define WEIR_JOBMANAGER_HA_RAFT_CODEC_H

#include "jobmanager/ha/raft_core.h"

#include <raft.h>

/* Appends the message. entries: those of an APPEND_ENTRIES (the library does not fill them in); snapshot: of an INSTALL_SNAPSHOT. */
void weir_raft_message_encode(const struct raft_message *message, const struct weir_raft_entry *entries, const struct weir_raft_snapshot *snapshot,
                              struct weir_buf *out);

/* Memory of entries, members and data is the library's (raft_malloc), in one batch, as raft_step wants it; weir_raft_message_drop frees it.
 * INVALID: names what is wrong. */
enum weir_rc weir_raft_message_decode(struct weir_slice bytes, uint64_t from, struct raft_message *out_message, struct weir_error *err) WEIR_CHECKED;
void weir_raft_message_drop(struct raft_message *message);

#endif
