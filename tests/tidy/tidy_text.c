#include "tests/tidy/tidy_text.h"

#include "common/base/mem.h"

enum where { CODE, LINE_COMMENT, BLOCK_COMMENT, STRING, CHARACTER };

static void blank(char *code, size_t i)
{
    if (code[i] != '\n') {
        code[i] = ' ';
    }
}

static enum where start_of(const char *code, size_t i)
{
    if (code[i] == '/' && code[i + 1] == '/') {
        return LINE_COMMENT;
    }
    if (code[i] == '/' && code[i + 1] == '*') {
        return BLOCK_COMMENT;
    }
    return code[i] == '"' ? STRING : code[i] == '\'' ? CHARACTER : CODE;
}

/* code is NUL-terminated; comments and literals become spaces (the quotes stay). */
static void blank_all(char *code, size_t len)
{
    enum where where = CODE;
    for (size_t i = 0; i < len; i++) {
        char c = code[i];
        switch (where) {
        case CODE:
            where = start_of(code, i);
            if (where == LINE_COMMENT || where == BLOCK_COMMENT) {
                blank(code, i);
                blank(code, ++i);
            }
            break;
        case LINE_COMMENT:
            where = c == '\n' ? CODE : where;
            blank(code, i);
            break;
        case BLOCK_COMMENT:
            if (c == '*' && code[i + 1] == '/') {
                blank(code, i++);
                where = CODE;
            }
            blank(code, i);
            break;
        case STRING:
        case CHARACTER:
            if (c == (where == STRING ? '"' : '\'') || c == '\n') {
                where = CODE;
            } else {
                blank(code, i);
                if (c == '\\' && i + 1 < len) {
                    blank(code, ++i);
                }
            }
            break;
        }
    }
}

static char **split(char *bytes, size_t len, uint32_t nlines)
{
    char **lines = weir_calloc(nlines + 1, sizeof(*lines));
    uint32_t n = 0;
    for (char *at = bytes; at < bytes + len;) {
        char *end = memchr(at, '\n', (size_t)(bytes + len - at));
        lines[n++] = at;
        if (end == NULL) {
            break;
        }
        *end = '\0';
        at = end + 1;
    }
    return lines;
}

void tidy_text_init(struct tidy_text *text, struct weir_slice bytes)
{
    *text = (struct tidy_text){.raw_bytes = weir_strndup(bytes.data, bytes.len), .code_bytes = weir_strndup(bytes.data, bytes.len)};
    for (size_t i = 0; i < bytes.len; i++) {
        text->nlines += bytes.data[i] == '\n' || i + 1 == bytes.len;
    }
    blank_all(text->code_bytes, bytes.len);
    text->raw = split(text->raw_bytes, bytes.len, text->nlines);
    text->code = split(text->code_bytes, bytes.len, text->nlines);
    /* a line that ends in a comment ends before it */
    for (uint32_t i = 0; i < text->nlines; i++) {
        size_t len = strlen(text->code[i]);
        while (len > 0 && text->code[i][len - 1] == ' ') {
            text->code[i][--len] = '\0';
        }
    }
}

void tidy_text_fini(struct tidy_text *text)
{
    weir_free(text->raw_bytes);
    weir_free(text->code_bytes);
    weir_free(text->raw);
    weir_free(text->code);
}
