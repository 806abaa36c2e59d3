/*
 * Small batches for tests.
 */
#ifndef WEIR_TESTS_LIB_ROWS_H
#define WEIR_TESTS_LIB_ROWS_H

#include "common/data/batch.h"

/* (n BIGINT, s STRING); the caller's reference. */
struct weir_schema *weir_test_schema(void);

/* Rows first .. first + count of that schema: n = the row's number, s = "s<n>" padded to str_bytes; every 7th s is NULL. */
struct weir_batch *weir_test_rows(const struct weir_schema *schema, int64_t first, uint32_t count, uint32_t str_bytes, struct weir_mem *mem);

/* Asserts that logical row i of the batch is row `number` as made above. */
void weir_test_check_row(const struct weir_batch *batch, uint32_t i, int64_t number, uint32_t str_bytes);

#endif
