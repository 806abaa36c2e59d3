/*
 * Which edges an input has reached, counted by the calls that -fsanitize-coverage=trace-pc puts into the code under test. The driver's own
 * files are compiled without it.
 */
#ifndef WEIR_TESTS_FUZZ_COVER_H
#define WEIR_TESTS_FUZZ_COVER_H

#include <stdbool.h>
#include <stdint.h>

/* Forgets the present input's edges. One thread. */
void weir_cover_begin(void);

/* Whether the input reached an edge, or a new order of magnitude of visits to one, that none before it did. */
bool weir_cover_end(void);

/* Edges ever reached. */
uint32_t weir_cover_edges(void);

#endif
