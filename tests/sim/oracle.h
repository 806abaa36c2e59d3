/*
 * The input of a simulated run and what must come of it, computed from the arrays that the input files are written from. Shares no code with
 * the engine, so that no mistake of the engine can excuse itself here.
 *
 *   rows (kind, speed, ts) --> kind is not NULL and speed >= 0 --> by kind and tumbling window of 10 s: n, mean, top
 */
#ifndef WEIR_TESTS_SIM_ORACLE_H
#define WEIR_TESTS_SIM_ORACLE_H

#include "common/base/error.h"
#include "common/base/rand.h"
#include "common/fs/fs.h"

struct weir_oracle;

/* Writes the input files, durably, and remembers what must come out. Files that are large (several reads each) are made with `wide`.
 * parallelism: the last files, one a reader, are the large ones. */
struct weir_oracle *weir_oracle_create(struct weir_fs *fs, const char *dir, struct weir_rand *rand, uint32_t parallelism, bool wide);
void weir_oracle_destroy(struct weir_oracle *oracle); /* accepts NULL */

/* Reads what is published in dir. INVALID: a row that is wrong, or twice, or, with `all`, missing: err says which. */
enum weir_rc weir_oracle_check(const struct weir_oracle *oracle, struct weir_fs *fs, const char *dir, bool all, struct weir_error *err) WEIR_CHECKED;

#endif
