/*
 * weir-tidy: checks every file of the tree (the working directory) against tests/tidy/layers.txt. Prints the violations, exit
 * code 1 when there are any, 2 when the tree cannot be read.
 */
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "tests/tidy/tidy.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct paths {
    char **items;
    size_t len, cap;
};

static bool wanted(const char *name)
{
    static const char *const ends[] = {".c", ".h", ".def", ".proto", ".l", ".y", ".py", ".sh"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t n = strlen(ends[i]);
        if (len > n && strcmp(name + len - n, ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Adds the files of a folder and, recursively, of its folders. */
static void collect(const char *folder, struct paths *paths)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char *path = weir_strfmt("%s/%s", folder, entry->d_name);
        struct stat st;
        bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        if (is_folder) {
            collect(path, paths);
        }
        if (!is_folder && wanted(entry->d_name)) {
            paths->items = weir_vec_grow(paths->items, &paths->cap, sizeof(*paths->items), paths->len + 1);
            paths->items[paths->len++] = path;
        } else {
            weir_free(path);
        }
    }
    (void)closedir(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum weir_rc read_whole(const char *path, struct weir_buf *out, struct weir_error *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return weir_error_errno(err, WEIR_IO, errno, "cannot open %s", path);
    }
    size_t got = 1;
    while (got > 0) {
        got = fread(weir_buf_reserve(out, 65536), 1, 65536, file);
        out->len += got;
    }
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    return failed ? weir_error_set(err, WEIR_IO, "cannot read %s", path) : WEIR_OK;
}

static enum weir_rc check_tree(struct tidy *tidy, struct weir_error *err)
{
    static const char *const folders[] = {"client", "common", "deploy", "include", "jobmanager", "proto", "taskmanager", "tests"};
    struct paths paths = {0};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        collect(folders[i], &paths);
    }
    if (paths.len > 0) {
        qsort(paths.items, paths.len, sizeof(*paths.items), by_name);
    }
    enum weir_rc rc = WEIR_OK;
    struct weir_buf text = {0};
    for (size_t i = 0; i < paths.len; i++) {
        weir_buf_clear(&text);
        rc = rc == WEIR_OK ? read_whole(paths.items[i], &text, err) : rc;
        if (rc == WEIR_OK) {
            tidy_add(tidy, paths.items[i], weir_buf_slice(&text));
        }
        weir_free(paths.items[i]);
    }
    weir_free(paths.items);
    weir_buf_fini(&text);
    tidy_finish(tidy);
    return rc;
}

int main(void)
{
    struct weir_error err;
    struct weir_buf layers = {0};
    struct tidy *tidy = NULL;
    enum weir_rc rc = read_whole("tests/tidy/layers.txt", &layers, &err);
    rc = rc == WEIR_OK ? tidy_create(weir_buf_slice(&layers), &tidy, &err) : rc;
    rc = rc == WEIR_OK ? check_tree(tidy, &err) : rc;
    int status = 2;
    if (rc != WEIR_OK) {
        (void)fprintf(stderr, "weir-tidy: %s\n", err.text);
    } else {
        struct weir_slice report = tidy_report(tidy);
        (void)printf("%.*stidy: %zu violations\n", WEIR_SLICE_ARG(report), tidy_count(tidy));
        status = tidy_count(tidy) == 0 ? 0 : 1;
    }
    tidy_destroy(tidy);
    weir_buf_fini(&layers);
    return status;
}
