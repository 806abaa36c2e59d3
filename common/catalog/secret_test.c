#include "common/catalog/secret.h"

#include "common/base/buf.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BYTES_MAX = 64 << 10 };

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

static enum weir_rc resolve(const char *text, char *out, size_t cap, struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(4096);
    const char *resolved = NULL;
    enum weir_rc rc = weir_secret_resolve(text, arena, &resolved, err);
    if (rc == WEIR_OK) {
        (void)snprintf(out, cap, "%s", resolved);
    } else {
        ck_assert_ptr_null(resolved);
    }
    weir_arena_destroy(arena);
    return rc;
}

static const struct {
    const char *text;
    bool has, whole, valid;
} texts[] = {
    {"", false, false, true},
    {"plain $ {env:X}", false, false, true},
    {"${env:X}", true, true, true},
    {"${file:/a b}", true, true, true},
    {"a${env:X}", true, false, true},
    {"${env:X}${env:Y}", true, false, true},
    {"${env:X} ", true, false, true},
    {"${env:}", true, false, false},
    {"${file:relative}", true, false, false},
    {"${X}", true, false, false},
    {"${env:X", true, false, false},
    {"${env:X}${", true, false, false},
};

START_TEST(references_are_recognised)
{
    struct weir_error err = {0};
    ck_assert_int_eq(weir_secret_has(texts[_i].text), texts[_i].has);
    ck_assert_int_eq(weir_secret_whole(texts[_i].text), texts[_i].whole);
    ck_assert_int_eq(weir_secret_check(texts[_i].text, &err), texts[_i].valid ? WEIR_OK : WEIR_INVALID);
}
END_TEST

START_TEST(files_and_variables_are_put_in)
{
    char folder[] = "/tmp/weir-secret-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    char path[64];
    char text[256];
    char got[256];
    struct weir_error err = {0};
    (void)snprintf(path, sizeof(path), "%s/s", folder);
    (void)snprintf(text, sizeof(text), "<${file:%s}|${env:WEIR_SECRET_TEST}>", path);
    ck_assert_int_eq(setenv("WEIR_SECRET_TEST", "${env:HOME}", 1), 0); /* is not looked at again */
    write_file(path, "a\nb\n", 4);
    ck_assert_msg(resolve(text, got, sizeof(got), &err) == WEIR_OK, "%s", err.text);
    ck_assert_str_eq(got, "<a\nb|${env:HOME}>");
    write_file(path, "\n", 1);
    ck_assert_int_eq(resolve(text, got, sizeof(got), &err), WEIR_OK);
    ck_assert_str_eq(got, "<|${env:HOME}>");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(resolve(text, got, sizeof(got), &err), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(resolve("${env:WEIR_SECRET_NONE}", got, sizeof(got), &err), WEIR_NOT_FOUND);
    ck_assert_str_eq(err.text, "the environment has no variable WEIR_SECRET_NONE");
    ck_assert_int_eq(resolve("${file:/tmp}", got, sizeof(got), &err), WEIR_IO);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(contents_are_bounded_and_texts)
{
    char path[] = "/tmp/weir-secret-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    char text[64];
    (void)snprintf(text, sizeof(text), "${file:%s}", path);
    struct weir_buf big = {0};
    memset(weir_buf_reserve(&big, BYTES_MAX + 1), 'x', BYTES_MAX + 1);
    char *got = malloc(BYTES_MAX + 2);
    struct weir_error err = {0};
    write_file(path, big.data, BYTES_MAX);
    ck_assert_int_eq(resolve(text, got, BYTES_MAX + 2, &err), WEIR_OK);
    ck_assert_uint_eq(strlen(got), BYTES_MAX);
    write_file(path, big.data, BYTES_MAX + 1);
    ck_assert_int_eq(resolve(text, got, 16, &err), WEIR_INVALID);
    ck_assert_ptr_null(strstr(err.text, "xxx"));
    write_file(path, "zyx\0zyx", 7);
    ck_assert_int_eq(resolve(text, got, 16, &err), WEIR_INVALID);
    ck_assert_ptr_null(strstr(err.text, "zyx"));
    ck_assert_int_eq(unlink(path), 0);
    free(got);
    weir_buf_fini(&big);
}
END_TEST

Suite *secret_suite(void);
Suite *secret_suite(void)
{
    Suite *suite = suite_create("secret");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, references_are_recognised, 0, sizeof(texts) / sizeof(texts[0]));
    tcase_add_test(tc, files_and_variables_are_put_in);
    tcase_add_test(tc, contents_are_bounded_and_texts);
    suite_add_tcase(suite, tc);
    return suite;
}
