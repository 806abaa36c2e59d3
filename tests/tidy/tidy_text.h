/*
 * A source text as lines, as written and with comments and the insides of literals blanked out.
 */
#ifndef WEIR_TESTS_TIDY_TIDY_TEXT_H
#define WEIR_TESTS_TIDY_TIDY_TEXT_H

#include "common/base/slice.h"

struct tidy_text {
    char *raw_bytes, *code_bytes;
    char **raw, **code; /* NUL-terminated lines without their newline */
    uint32_t nlines;
};

void tidy_text_init(struct tidy_text *text, struct weir_slice bytes);
void tidy_text_fini(struct tidy_text *text);

#endif
