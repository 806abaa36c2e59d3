/*
 * The linter: STYLE's charter as far as a program can read it. Works on texts, so that its own test can hand it wrong ones; main.c
 * walks the tree.
 *
 * Rules (the name that a violation carries): layer, cycle, third-party, include, guard, length, function, line, call, word, static, type,
 * untested, unique. What each folder may include, the exceptions and their reasons stand in layers.txt; a rule that no longer applies to
 * anything there is itself a violation (stale), so that exceptions can only shrink.
 *
 * One thread. Nothing is borrowed beyond a call.
 */
#ifndef WEIR_TESTS_TIDY_TIDY_H
#define WEIR_TESTS_TIDY_TIDY_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum {
    TIDY_SOURCE_LINES_MAX = 1000,
    TIDY_HEADER_LINES_MAX = 300,
    TIDY_FUNCTION_LINES_MAX = 70,
    TIDY_LINE_COLUMNS_MAX = 160,
};

struct tidy;

/* Reads layers.txt's text; INVALID names the line. */
enum weir_rc tidy_create(struct weir_slice layers, struct tidy **out_tidy, struct weir_error *err) WEIR_CHECKED;
void tidy_destroy(struct tidy *tidy);

/* Checks one file by itself. Every file of the tree is to be added before tidy_finish. path is from the root. */
void tidy_add(struct tidy *tidy, const char *path, struct weir_slice text);

/* The rules between files: cycles, includes of what does not exist, sources without a test, names used twice, stale exceptions. */
void tidy_finish(struct tidy *tidy);

/* Violations so far, each `file:line: rule: text\n`, and their number. */
struct weir_slice tidy_report(const struct tidy *tidy);
size_t tidy_count(const struct tidy *tidy);

#endif
