/*
 * Secrets in job files: ${file:/path} and ${env:NAME} inside a value stand for a file's text (without the newline at its end) and an environment
 * variable. They travel as written and are resolved on the TaskManager that uses them, so that neither plan, log nor API has them.
 */
#ifndef WEIR_COMMON_CATALOG_SECRET_H
#define WEIR_COMMON_CATALOG_SECRET_H

#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>

/* Whether text has a reference (valid or not), and whether it is one valid reference and nothing else. */
bool weir_secret_has(const char *text);
bool weir_secret_whole(const char *text);

/* Whether every reference in text is written rightly. INVALID. Does not look at files or variables. */
enum weir_rc weir_secret_check(const char *text, struct weir_error *err) WEIR_CHECKED;

/* text with its references replaced (weir_config_resolve_secret), in arena's memory; what they stand for is not looked at again. Reads files:
 * blocks. INVALID: badly written, a NUL or more than 64 KiB in a file; NOT_FOUND: no such file or variable; IO. Errors name the reference,
 * never what it stands for. */
enum weir_rc weir_secret_resolve(const char *text, struct weir_arena *arena, const char **out_text, struct weir_error *err) WEIR_CHECKED;

#endif
