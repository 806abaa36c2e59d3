/*
 * weir certs init|add|show|renew: the certificates of a cluster. Asks no daemon.
 *
 *   DIR/ca.pem, DIR/ca-key.pem        the authority; its key is needed only here, and belongs on no node
 *   DIR/<node>/ca.pem, node.pem       what the node's security.ssl.internal.dir is to hold
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/x509.h"
#include "proto/methods.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AUTHORITY_DAYS = 3650, NODE_DAYS = 365, NODES_MAX = 1000, EXPIRED_SOON_DAYS = 30 };

/* --- files -------------------------------------------------------------------------------------------------------------- */

static enum weir_rc read_file(const char *path, struct weir_buf *out, struct weir_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return weir_error_errno(err, errno == ENOENT ? WEIR_NOT_FOUND : WEIR_IO, errno, "cannot open %s", path);
    }
    size_t got = 1;
    while (got > 0 && out->len <= WEIR_X509_PEM_BYTES_MAX) {
        enum { CHUNK_BYTES = 16384 };
        got = fread(weir_buf_reserve(out, CHUNK_BYTES), 1, CHUNK_BYTES, file);
        out->len += got;
    }
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    return failed ? weir_error_set(err, WEIR_IO, "cannot read %s", path) : WEIR_OK;
}

/* A new file that only its owner may read. */
static enum weir_rc create_file(const char *path, struct weir_slice bytes, struct weir_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return weir_error_errno(err, errno == EEXIST ? WEIR_EXISTS : WEIR_IO, errno, "cannot create %s", path);
    }
    ssize_t written = 0;
    size_t done = 0;
    while (done < bytes.len && (written = write(fd, bytes.data + done, bytes.len - done)) > 0) {
        done += (size_t)written;
    }
    bool synced = done == bytes.len && fsync(fd) == 0;
    int errnum = errno;
    (void)close(fd);
    return synced ? WEIR_OK : weir_error_errno(err, WEIR_IO, errnum, "cannot write %s", path);
}

/* Whole and at once: a daemon that looks meanwhile sees the old file or the new one. */
static enum weir_rc replace_file(const char *path, struct weir_slice bytes, struct weir_error *err)
{
    char *new_path = weir_strfmt("%s.new", path);
    (void)unlink(new_path);
    enum weir_rc rc = create_file(new_path, bytes, err);
    if (rc == WEIR_OK && rename(new_path, path) != 0) {
        rc = weir_error_errno(err, WEIR_IO, errno, "cannot replace %s", path);
    }
    weir_free(new_path);
    return rc;
}

static enum weir_rc make_dir(const char *path, struct weir_error *err)
{
    return mkdir(path, 0700) == 0 ? WEIR_OK
                                  : weir_error_errno(err, errno == EEXIST ? WEIR_EXISTS : WEIR_IO, errno, "cannot make the directory %s", path);
}

/* --- the authority ------------------------------------------------------------------------------------------------------ */

struct authority {
    const char *dir;
    struct weir_buf certificate;
    struct weir_buf key;
};

static void authority_fini(struct authority *authority)
{
    weir_buf_fini(&authority->certificate);
    weir_x509_wipe(&authority->key);
}

static enum weir_rc authority_make(struct authority *authority, uint32_t node_days, struct weir_error *err)
{
    uint32_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        return weir_error_errno(err, WEIR_IO, errno, "no random numbers from the kernel");
    }
    char *name = weir_strfmt("weir-authority-%08x", number);
    char *certificate_path = weir_strfmt("%s/ca.pem", authority->dir);
    char *key_path = weir_strfmt("%s/ca-key.pem", authority->dir);
    uint32_t days = node_days > AUTHORITY_DAYS ? node_days : AUTHORITY_DAYS;
    enum weir_rc rc = WEIR_OK;
    if (access(certificate_path, F_OK) == 0 || access(key_path, F_OK) == 0) {
        rc = weir_error_set(err, WEIR_EXISTS, "%s has an authority already: `weir certs add` makes certificates for further nodes, `weir certs renew` new "
                            "ones for all", authority->dir);
    }
    if (rc == WEIR_OK && mkdir(authority->dir, 0700) != 0 && errno != EEXIST) {
        rc = weir_error_errno(err, WEIR_IO, errno, "cannot make the directory %s", authority->dir);
    }
    rc = rc == WEIR_OK ? weir_x509_make_authority(name, weir_clock_wall_ms(weir_clock_real()), days, &authority->certificate, &authority->key, err) : rc;
    rc = rc == WEIR_OK ? create_file(key_path, weir_buf_slice(&authority->key), err) : rc;
    rc = rc == WEIR_OK ? create_file(certificate_path, weir_buf_slice(&authority->certificate), err) : rc;
    weir_free(key_path);
    weir_free(certificate_path);
    weir_free(name);
    return rc;
}

static enum weir_rc authority_read(struct authority *authority, struct weir_error *err)
{
    char *certificate_path = weir_strfmt("%s/ca.pem", authority->dir);
    char *key_path = weir_strfmt("%s/ca-key.pem", authority->dir);
    enum weir_rc rc = read_file(certificate_path, &authority->certificate, err);
    rc = rc == WEIR_OK ? read_file(key_path, &authority->key, err) : rc;
    weir_free(key_path);
    weir_free(certificate_path);
    return rc == WEIR_OK ? rc : weir_error_prefix(err, "%s is no directory of `weir certs init`", authority->dir);
}

/* --- nodes -------------------------------------------------------------------------------------------------------------- */

/* What is asked of every node. */
struct wish {
    struct authority authority;
    uint32_t days;
    char *hosts_text; /* cut into hosts */
    const char *hosts[WEIR_X509_HOSTS_MAX];
    uint32_t nhosts;
    uint32_t made;
};

static enum weir_rc cut_hosts(struct wish *wish, const char *text, struct weir_error *err)
{
    weir_free(wish->hosts_text);
    wish->hosts_text = weir_strdup(text);
    wish->nhosts = 0;
    char *rest = wish->hosts_text;
    for (char *host = strsep(&rest, ","); host != NULL && text[0] != '\0'; host = strsep(&rest, ",")) {
        if (wish->nhosts == WEIR_X509_HOSTS_MAX) {
            return weir_error_set(err, WEIR_INVALID, "more than %d hosts", WEIR_X509_HOSTS_MAX);
        }
        wish->hosts[wish->nhosts++] = host;
    }
    return WEIR_OK;
}

static enum weir_rc make_pem(struct wish *wish, const char *role, const char *name, struct weir_buf *out, struct weir_error *err)
{
    const struct weir_x509_node node = {.role = role,
                                        .name = name,
                                        .hosts = wish->hosts,
                                        .nhosts = wish->nhosts,
                                        .now_ms = weir_clock_wall_ms(weir_clock_real()),
                                        .days = wish->days};
    return weir_x509_make_node(&node, weir_buf_slice(&wish->authority.certificate), weir_buf_slice(&wish->authority.key), out, err);
}

static enum weir_rc make_node(struct wish *wish, const char *role, const char *name, struct weir_error *err)
{
    struct weir_buf pem = {0};
    enum weir_rc rc = make_pem(wish, role, name, &pem, err); /* first: it checks the name, which becomes a path */
    if (rc != WEIR_OK) {
        return rc;
    }
    char *dir = weir_strfmt("%s/%s", wish->authority.dir, name);
    char *ca_path = weir_strfmt("%s/ca.pem", dir);
    char *node_path = weir_strfmt("%s/node.pem", dir);
    rc = name[0] == '.' ? weir_error_set(err, WEIR_INVALID, "\"%s\": the name of a node does not begin with a dot", name) : make_dir(dir, err);
    rc = rc == WEIR_OK ? create_file(ca_path, weir_buf_slice(&wish->authority.certificate), err) : rc;
    rc = rc == WEIR_OK ? create_file(node_path, weir_buf_slice(&pem), err) : rc;
    wish->made += rc == WEIR_OK;
    weir_free(node_path);
    weir_free(ca_path);
    weir_free(dir);
    weir_x509_wipe(&pem);
    return rc;
}

static enum weir_rc check_role(const char *role, struct weir_error *err)
{
    if (strcmp(role, WEIR_ROLE_JOBMANAGER) == 0 || strcmp(role, WEIR_ROLE_TASKMANAGER) == 0) {
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_INVALID, "there is no role \"%s\": expected " WEIR_ROLE_JOBMANAGER " or " WEIR_ROLE_TASKMANAGER, role);
}

/* Under the first free number: taskmanager-1, taskmanager-2, ... */
static enum weir_rc make_numbered(struct wish *wish, const char *role, struct weir_error *err)
{
    for (int number = 1; number <= NODES_MAX; number++) {
        char *name = weir_strfmt("%s-%d", role, number);
        char *dir = weir_strfmt("%s/%s", wish->authority.dir, name);
        bool is_free = access(dir, F_OK) != 0;
        enum weir_rc rc = is_free ? make_node(wish, role, name, err) : WEIR_OK;
        weir_free(dir);
        weir_free(name);
        if (is_free) {
            return rc;
        }
    }
    return weir_error_set(err, WEIR_LIMIT, "%s has %d nodes of role %s", wish->authority.dir, NODES_MAX, role);
}

/* "role:count,role:count": checked, and made if `make`. */
static enum weir_rc each_count(struct wish *wish, const char *text, bool make, struct weir_error *err)
{
    char *copy = weir_strdup(text);
    char *rest = copy;
    enum weir_rc rc = WEIR_OK;
    for (char *item = strsep(&rest, ","); item != NULL && rc == WEIR_OK; item = strsep(&rest, ",")) {
        char *colon = strchr(item, ':');
        char *end = NULL;
        unsigned long count = colon == NULL ? 1 : strtoul(colon + 1, &end, 10);
        if (colon != NULL && (colon[1] < '0' || colon[1] > '9' || *end != '\0' || count < 1 || count > NODES_MAX)) {
            rc = weir_error_set(err, WEIR_INVALID, "--nodes %s: expected ROLE:COUNT, with a count from 1 to %d", item, NODES_MAX);
            break;
        }
        if (colon != NULL) {
            *colon = '\0';
        }
        rc = check_role(item, err);
        for (unsigned long i = 0; make && i < count && rc == WEIR_OK; i++) {
            rc = make_numbered(wish, item, err);
        }
    }
    weir_free(copy);
    return rc;
}

static enum weir_rc each_node(struct wish *wish, const struct weir_options *options, bool make, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < options->nnode && rc == WEIR_OK; i++) {
        char *role = weir_strdup(options->node[i]);
        char *name = strchr(role, ':');
        if (name != NULL) {
            *name++ = '\0';
        }
        rc = check_role(role, err);
        if (make && rc == WEIR_OK) {
            rc = name == NULL ? make_numbered(wish, role, err) : make_node(wish, role, name, err);
        }
        weir_free(role);
    }
    return rc;
}

static enum weir_rc wish_init(struct wish *wish, const struct weir_options *options, struct weir_error *err)
{
    *wish = (struct wish){.authority = {.dir = options->operands[2]}, .days = options->days == 0 ? NODE_DAYS : options->days};
    return options->hosts == NULL ? WEIR_OK : cut_hosts(wish, options->hosts, err);
}

static void wish_fini(struct wish *wish)
{
    weir_free(wish->hosts_text);
    authority_fini(&wish->authority);
}

static void print_made(const struct weir_options *options, const struct wish *wish, const char *what)
{
    if (options->given & WEIR_OPTION_JSON) {
        weir_print_json_take(json_pack("{s:s, s:i}", "directory", wish->authority.dir, "certificates", (int)wish->made));
        return;
    }
    (void)printf("%u certificates %s in %s, valid for %u days\n", wish->made, what, wish->authority.dir, wish->days);
}

static enum weir_rc run_make(const struct weir_options *options, bool init, struct weir_error *err)
{
    struct wish wish;
    enum weir_rc rc = wish_init(&wish, options, err);
    if (rc == WEIR_OK && options->nodes == NULL && options->nnode == 0) {
        rc = weir_error_set(err, WEIR_INVALID, "for which nodes? --nodes jobmanager:1,taskmanager:2, or --node ROLE[:NAME] for each");
    }
    rc = rc == WEIR_OK && options->nodes != NULL ? each_count(&wish, options->nodes, false, err) : rc;
    rc = rc == WEIR_OK ? each_node(&wish, options, false, err) : rc;
    if (rc == WEIR_OK) {
        rc = init ? authority_make(&wish.authority, wish.days, err) : authority_read(&wish.authority, err);
    }
    rc = rc == WEIR_OK && options->nodes != NULL ? each_count(&wish, options->nodes, true, err) : rc;
    rc = rc == WEIR_OK ? each_node(&wish, options, true, err) : rc;
    if (rc == WEIR_OK) {
        print_made(options, &wish, "made");
    }
    if (rc == WEIR_OK && init && !(options->given & WEIR_OPTION_JSON)) {
        (void)printf("Give each node its own directory (security.ssl.internal.dir); keep %s/ca-key.pem away from all of them.\n", wish.authority.dir);
    }
    wish_fini(&wish);
    return rc;
}

/* --- all nodes of a directory ------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of subdirectories with a node.pem, sorted; the caller frees each and the array. */
static char **list_nodes(const char *dir, size_t *out_count)
{
    char **names = weir_calloc(2 * NODES_MAX, sizeof(char *));
    size_t count = 0;
    DIR *open_dir = opendir(dir);
    for (struct dirent *entry = open_dir == NULL ? NULL : readdir(open_dir); entry != NULL; entry = readdir(open_dir)) {
        char *path = weir_strfmt("%s/%s/node.pem", dir, entry->d_name);
        if (entry->d_name[0] != '.' && count < 2 * NODES_MAX && access(path, F_OK) == 0) {
            names[count++] = weir_strdup(entry->d_name);
        }
        weir_free(path);
    }
    if (open_dir != NULL) {
        (void)closedir(open_dir);
    }
    qsort(names, count, sizeof(char *), by_text);
    *out_count = count;
    return names;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_free(names[i]);
    }
    weir_free(names);
}

static enum weir_rc read_info(const char *path, struct weir_x509_info *out_info, struct weir_error *err)
{
    struct weir_buf pem = {0};
    enum weir_rc rc = read_file(path, &pem, err);
    if (rc == WEIR_OK) {
        rc = weir_x509_read(weir_buf_slice(&pem), out_info, err);
        rc = rc == WEIR_OK ? rc : weir_error_prefix(err, "%s", path);
    }
    weir_x509_wipe(&pem);
    return rc;
}

/* A new key and certificate for what an old certificate says; its authority's certificate too. */
static enum weir_rc renew_node(struct wish *wish, const char *name, bool keep_hosts, struct weir_error *err)
{
    struct weir_x509_info info;
    struct weir_buf pem = {0};
    char *node_path = weir_strfmt("%s/%s/node.pem", wish->authority.dir, name);
    char *ca_path = weir_strfmt("%s/%s/ca.pem", wish->authority.dir, name);
    enum weir_rc rc = read_info(node_path, &info, err);
    rc = rc == WEIR_OK && keep_hosts ? cut_hosts(wish, info.hosts, err) : rc;
    rc = rc == WEIR_OK ? make_pem(wish, info.role, info.name, &pem, err) : rc;
    rc = rc == WEIR_OK ? replace_file(ca_path, weir_buf_slice(&wish->authority.certificate), err) : rc;
    rc = rc == WEIR_OK ? replace_file(node_path, weir_buf_slice(&pem), err) : rc;
    wish->made += rc == WEIR_OK;
    weir_free(ca_path);
    weir_free(node_path);
    weir_x509_wipe(&pem);
    return rc;
}

static enum weir_rc run_renew(const struct weir_options *options, struct weir_error *err)
{
    struct wish wish;
    size_t count = 0;
    char **names = list_nodes(options->operands[2], &count);
    enum weir_rc rc = wish_init(&wish, options, err);
    rc = rc == WEIR_OK ? authority_read(&wish.authority, err) : rc;
    if (options->nnode == 0) {
        for (size_t i = 0; i < count && rc == WEIR_OK; i++) {
            rc = renew_node(&wish, names[i], options->hosts == NULL, err);
        }
    }
    for (uint32_t i = 0; i < options->nnode && rc == WEIR_OK; i++) {
        const char *colon = strrchr(options->node[i], ':');
        const char *name = colon == NULL ? options->node[i] : colon + 1;
        rc = weir_x509_name_ok(name) ? renew_node(&wish, name, options->hosts == NULL, err)
                                     : weir_error_set(err, WEIR_INVALID, "\"%s\" is no name of a node", name);
    }
    if (rc == WEIR_OK) {
        print_made(options, &wish, "renewed");
    }
    wish_fini(&wish);
    free_names(names, count);
    return rc;
}

/* --- show --------------------------------------------------------------------------------------------------------------- */

static void format_day(int64_t ms, char out[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    if (strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        out[0] = '\0';
    }
}

static void show_one(const char *path, const struct weir_x509_info *info, struct weir_table *table, json_t *list)
{
    char until[32];
    int64_t days = (info->not_after_ms - weir_clock_wall_ms(weir_clock_real())) / 86400000;
    const char *state = info->not_after_ms < weir_clock_wall_ms(weir_clock_real()) ? "expired" : days < EXPIRED_SOON_DAYS ? "expires soon" : "valid";
    const char *role = info->authority ? "authority" : info->role;
    format_day(info->not_after_ms, until);
    weir_table_add(table, info->name);
    weir_table_add(table, role);
    weir_table_add(table, info->hosts[0] == '\0' ? "any" : info->hosts);
    weir_table_add(table, info->issuer);
    weir_table_add(table, until);
    weir_table_add(table, state);
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "file", path, "name", info->name, "role", role, "hosts", info->hosts,
                                          "issuer", info->issuer, "not-after", until, "state", state, "days-left", (json_int_t)days));
}

/* One that is not there is no error when `optional`. */
static enum weir_rc show_file(char *path_take, bool optional, struct weir_table *table, json_t *list, struct weir_error *err)
{
    struct weir_x509_info info;
    enum weir_rc rc = optional && access(path_take, F_OK) != 0 ? WEIR_NOT_FOUND : read_info(path_take, &info, err);
    if (rc == WEIR_OK) {
        show_one(path_take, &info, table, list);
    }
    weir_free(path_take);
    return optional && rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
}

static enum weir_rc run_show(const struct weir_options *options, struct weir_error *err)
{
    static const char *const headings[] = {"NAME", "ROLE", "HOSTS", "SIGNED BY", "VALID UNTIL (UTC)", "STATE", NULL};
    const char *dir = options->operands[2];
    struct weir_table *table = weir_table_create(headings);
    json_t *list = json_array();
    size_t count = 0;
    char **names = list_nodes(dir, &count);
    enum weir_rc rc = show_file(weir_strfmt("%s/ca.pem", dir), false, table, list, err);
    rc = rc == WEIR_OK ? show_file(weir_strfmt("%s/node.pem", dir), true, table, list, err) : rc;
    for (size_t i = 0; i < count && rc == WEIR_OK; i++) {
        rc = show_file(weir_strfmt("%s/%s/node.pem", dir, names[i]), false, table, list, err);
    }
    if (rc == WEIR_OK && (options->given & WEIR_OPTION_JSON)) {
        weir_print_json_take(json_pack("{s:O}", "certificates", list));
    } else if (rc == WEIR_OK) {
        struct weir_buf out = {0};
        weir_table_render(table, &out);
        weir_print(weir_buf_slice(&out));
        weir_buf_fini(&out);
    }
    json_decref(list);
    weir_table_destroy(table);
    free_names(names, count);
    return rc;
}

enum weir_rc weir_cmd_certs(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit, struct weir_error *err)
{
    (void)gateway;
    const char *verb = options->operands[1];
    enum weir_rc rc;
    if (strcmp(verb, "init") == 0 || strcmp(verb, "add") == 0) {
        rc = run_make(options, strcmp(verb, "init") == 0, err);
    } else if (strcmp(verb, "show") == 0) {
        rc = run_show(options, err);
    } else if (strcmp(verb, "renew") == 0) {
        rc = run_renew(options, err);
    } else {
        *out_exit = WEIR_EXIT_USAGE;
        return weir_error_set(err, WEIR_INVALID, "`weir certs %s`: expected `init`, `add`, `show` or `renew`", verb);
    }
    *out_exit = rc == WEIR_OK ? WEIR_EXIT_OK : rc == WEIR_INVALID ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED;
    return rc;
}
