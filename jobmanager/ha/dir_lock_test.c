#include "jobmanager/ha/dir_lock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(a_directory_has_one_owner)
{
    char dir[] = "/tmp/weir-dir-lock-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct weir_dir_lock *one = NULL;
    struct weir_dir_lock *two = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_dir_lock_open(dir, &one, &err), WEIR_OK);
    ck_assert_int_eq(weir_dir_lock_open(dir, &two, &err), WEIR_EXISTS);
    char pid[32];
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    ck_assert_msg(strstr(err.text, pid) != NULL, "%s", err.text);
    weir_dir_lock_close(one);
    ck_assert_int_eq(weir_dir_lock_open(dir, &two, &err), WEIR_OK);
    weir_dir_lock_close(two);
    char path[sizeof(dir) + 8];
    (void)snprintf(path, sizeof(path), "%s/lock", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

Suite *dir_lock_suite(void);

Suite *dir_lock_suite(void)
{
    Suite *suite = suite_create("dir_lock");
    TCase *tcase = tcase_create("dir_lock");
    tcase_add_test(tcase, a_directory_has_one_owner);
    suite_add_tcase(suite, tcase);
    return suite;
}
