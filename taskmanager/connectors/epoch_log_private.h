/*
 * What epoch_log.c shows its test: a log with other limits, and without the thread, so that the test drains step by step.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_PRIVATE_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_PRIVATE_H

#include "taskmanager/connectors/epoch_drain.h"
#include "taskmanager/connectors/epoch_log.h"
#include "taskmanager/connectors/epoch_segment.h"

enum { WEIR__EPOCH_LOG_RETRY_MS = 500 };

struct weir__epoch_log_options {
    uint64_t bytes_max; /* E6 */
    size_t fill_bytes;  /* a buffer is written when it has so many */
    struct weir__block_limits block;
    struct weir__drain_limits chunk; /* at least the block's */
    bool stepped;       /* no thread: weir__drain_step */
};

enum weir_rc weir__epoch_log_create(const struct weir_conn_ctx *ctx, const struct weir__epoch_log_options *options,
                                    struct weir_drain_target *target_take, struct weir_epoch_log **out_log, struct weir_error *err) WEIR_CHECKED;

/* Borrowed for the log's life. */
struct weir__drain *weir__epoch_log_drain_of(struct weir_epoch_log *log);

#endif
