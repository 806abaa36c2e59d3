/*
 * Every explicit limit that more than one module must agree on. A limit of one module stands in that module's header.
 */
#ifndef WEIR_COMMON_BASE_LIMITS_H
#define WEIR_COMMON_BASE_LIMITS_H

enum {
    WEIR_NAME_MAX = 255,             /* bytes of a job, table, column or operator name */
    WEIR_COLUMNS_MAX = 1024,         /* columns of a schema */
    WEIR_BATCH_ROWS_MAX = 4096,      /* rows of a batch; row indices are uint16 */
    WEIR_BATCH_BYTES_MAX = 1 << 20,  /* a batch is split before it is sent when it is larger */
    WEIR_EXPR_NODES_MAX = 10000,     /* nodes of one expression */
    WEIR_EXPR_DEPTH_MAX = 200,       /* nesting of one expression */
    WEIR_JOB_FILE_BYTES_MAX = 4 << 20,
    WEIR_JOB_OPERATORS_MAX = 10000,
    WEIR_JSON_DEPTH_MAX = 64,
    WEIR_PARALLELISM_MAX = 32768,
    WEIR_MAX_PARALLELISM_DEFAULT = 128,
    WEIR_RESTART_DELAY_MAX_MS = 24 * 3600 * 1000,
    WEIR_RESTART_FAILURES_MAX = 10000, /* of failure-rate: their times are kept */
    WEIR_RPC_FRAME_BYTES_MAX = 16 << 20,
    WEIR_RECORD_BYTES_MAX = 64 << 20, /* ceiling of the setting record.bytes.max */
};

_Static_assert(WEIR_BATCH_ROWS_MAX <= 65536, "row indices are uint16");
_Static_assert(WEIR_JOB_FILE_BYTES_MAX < WEIR_RPC_FRAME_BYTES_MAX, "a job travels in one control message");

#endif
