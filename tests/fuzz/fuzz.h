/*
 * Fuzz targets and what they run in (main.c is the driver). A target decodes arbitrary bytes; whatever they are, it must not crash, leak,
 * loop or lose what was good. What must hold beyond that it says with weir_assert.
 *
 * Each target runs in a process of its own: the input lies in memory shared with the parent, which writes it to a file when the process dies.
 */
#ifndef WEIR_TESTS_FUZZ_FUZZ_H
#define WEIR_TESTS_FUZZ_FUZZ_H

#include "common/base/assert.h"
#include "common/base/buf.h"

enum { WEIR_FUZZ_INPUT_BYTES_MAX = 64 << 10 };

typedef void weir_fuzz_seed_fn(void *ctx, struct weir_slice input);

struct weir_fuzz_target {
    const char *name;
    const char *const *tokens; /* of its language, for mutations; ends with NULL; may be NULL */
    const char *also;          /* a folder of inputs beside tests/fuzz/corpus/<name>; may be NULL */
    bool lines;                /* each line of a file is an input */
    void *(*create)(void);
    void (*run)(void *state, struct weir_slice input);
    void (*destroy)(void *state);
    /* Valid inputs made by our own encoders; may be NULL. */
    void (*seed)(void *state, weir_fuzz_seed_fn *add, void *ctx);
};

extern const struct weir_fuzz_target weir_fuzz_json, weir_fuzz_jobfile, weir_fuzz_expr, weir_fuzz_frames, weir_fuzz_control, weir_fuzz_plan,
    weir_fuzz_log, weir_fuzz_raft, weir_fuzz_raft_store, weir_fuzz_checkpoint, weir_fuzz_rest, weir_fuzz_tls;

#endif
