/*
 * New inputs from old ones: bits, bytes, numbers at their edges, words of the language, pieces moved, doubled, repeated and cut.
 */
#ifndef WEIR_TESTS_FUZZ_MUTATE_H
#define WEIR_TESTS_FUZZ_MUTATE_H

#include "common/base/buf.h"
#include "common/base/rand.h"

/* Changes input one to eight times; `other` is another input to take pieces from. len stays at most bytes_max. */
void weir_mutate(struct weir_buf *input, struct weir_slice other, const char *const *tokens, size_t bytes_max, struct weir_rand *rand);

#endif
