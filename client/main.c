/*
 * weir: the command line client. A table of commands; everything it knows of a cluster comes over HTTP.
 *
 * Exit code: 0 success, 1 failure (also of the job that was waited for), 2 wrong usage.
 */
#include "client/command.h"
#include "client/options.h"
#include "common/base/config.h"
#include "common/base/version.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct weir_command commands[] = {
    {"run", "FILE [-d] [-p N]", "submit a job; waits for a bounded one to end, -d prints the id and returns", 1, 1,
     WEIR_OPTION_DETACHED | WEIR_OPTION_PARALLELISM, true, weir_cmd_run},
    {"list", "", "the jobs of the cluster", 0, 0, 0, true, weir_cmd_list},
    {"status", "JOB", "one job: its state, its tasks and their records", 1, 1, 0, true, weir_cmd_status},
    {"cancel", "JOB [--now] [-d]", "end a job and wait until its sinks have drained what is committed; --now leaves that undrained, -d does not wait", 1, 1,
     WEIR_OPTION_NOW | WEIR_OPTION_DETACHED, true, weir_cmd_cancel},
    {"cluster", "[replace-jobmanager OLD NEW]",
     "the leader, the other JobManagers, the TaskManagers and their slots; or lets an empty JobManager take a lost one's place", 0, 3, 0, true,
     weir_cmd_cluster},
    {"logs", "[JOB|TASKMANAGER]", "newest log lines: of the JobManager, of a job, of a TaskManager", 0, 1, 0, true, weir_cmd_logs},
    {"certs", "init|add|show|renew DIR [--nodes jobmanager:3,taskmanager:4] [--node ROLE[:NAME]]... [--hosts HOST,...] [--days N]",
     "a cluster's own authority and a certificate for each node (security.ssl.internal.*)", 2, 2,
     WEIR_OPTION_NODES | WEIR_OPTION_NODE | WEIR_OPTION_HOSTS | WEIR_OPTION_DAYS, false, weir_cmd_certs},
    {"config", "check|show [--config FILE] [-D KEY=VALUE]", "what a daemon would run with, and from where each value comes", 1, 1,
     WEIR_OPTION_CONFIG | WEIR_OPTION_DEFINE, false, weir_cmd_config},
};

enum { NCOMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *to)
{
    (void)fprintf(to, "usage: weir COMMAND [OPTIONS]\n\n");
    for (size_t i = 0; i < NCOMMANDS; i++) {
        (void)fprintf(to, "  %-8s%s\n          %s\n", commands[i].name, commands[i].operands, commands[i].help);
    }
    (void)fprintf(to, "\nJOB is a job's id or name.\n"
                      "  -m HOST:PORT[,...]  the JobManagers; else $WEIR_JOBMANAGERS, else " WEIR_JOBMANAGERS_DEFAULT "\n"
                      "  --json              the result as JSON\n"
                      "  --help, --version\n"
                      "Exit code: 0 success, 1 failure (also of the job that was waited for), 2 wrong usage.\n");
}

static int usage_error(const char *text)
{
    (void)fprintf(stderr, "weir: %s\nTry `weir --help`.\n", text);
    return WEIR_EXIT_USAGE;
}

static const struct weir_command *find_command(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Whether the command takes what was given; err says why not. */
static bool fits(const struct weir_command *command, const struct weir_options *options, struct weir_error *err)
{
    uint32_t noperands = options->noperands - 1;
    uint32_t taken = command->options | WEIR_OPTION_JSON | (command->remote ? (uint32_t)WEIR_OPTION_JOBMANAGERS : 0);
    uint32_t extra = options->given & ~taken;
    if (extra != 0) {
        (void)weir_error_set(err, WEIR_INVALID, "`weir %s` has no option %s; usage: weir %s %s", command->name,
                             weir_option_name((enum weir_option_bit)(extra & -extra)), command->name, command->operands);
        return false;
    }
    if (noperands < command->operands_min || noperands > command->operands_max) {
        (void)weir_error_set(err, WEIR_INVALID, "%s arguments; usage: weir %s %s",
                             noperands < command->operands_min ? "missing" : "too many", command->name, command->operands);
        return false;
    }
    return true;
}

static const char *jobmanagers(const struct weir_options *options)
{
    const char *from_environment = getenv("WEIR_JOBMANAGERS");
    if (options->jobmanagers != NULL) {
        return options->jobmanagers;
    }
    return from_environment != NULL && from_environment[0] != '\0' ? from_environment : WEIR_JOBMANAGERS_DEFAULT;
}

static void print_error(const struct weir_options *options, const struct weir_error *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "weir: %s\n", err->text);
    if (options->given & WEIR_OPTION_JSON) {
        json_t *text = json_string(err->text);
        weir_print_json_take(json_pack("{s:[o]}", "errors", text != NULL ? text : json_string("error text is not UTF-8")));
    }
}

static int run(const struct weir_command *command, const struct weir_options *options)
{
    struct weir_error err;
    struct weir_gateway *gateway = NULL;
    enum weir_exit result = WEIR_EXIT_FAILED;
    enum weir_rc rc = WEIR_OK;
    if (command->remote) {
        rc = weir_gateway_create(jobmanagers(options), weir_clock_real(), &gateway, &err);
        result = rc == WEIR_OK ? WEIR_EXIT_FAILED : WEIR_EXIT_USAGE;
    }
    rc = rc == WEIR_OK ? command->run(options, gateway, &result, &err) : rc;
    if (rc != WEIR_OK) {
        print_error(options, &err);
        result = result == WEIR_EXIT_USAGE ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED;
    }
    weir_gateway_destroy(gateway);
    return result;
}

int main(int argc, char **argv)
{
    struct weir_options options;
    struct weir_error err;
    if (weir_options_parse(argc, argv, &options, &err) != WEIR_OK) {
        return usage_error(err.text);
    }
    if (options.given & WEIR_OPTION_VERSION) {
        (void)puts("weir " WEIR_VERSION);
        return WEIR_EXIT_OK;
    }
    if (options.given & WEIR_OPTION_HELP) {
        print_help(stdout);
        return WEIR_EXIT_OK;
    }
    if (options.noperands == 0) {
        print_help(stderr);
        return WEIR_EXIT_USAGE;
    }
    const struct weir_command *command = find_command(options.operands[0]);
    if (command == NULL) {
        const char *names[NCOMMANDS];
        for (size_t i = 0; i < NCOMMANDS; i++) {
            names[i] = commands[i].name;
        }
        const char *near = weir_nearest_name(weir_slice_str(options.operands[0]), names, NCOMMANDS);
        (void)weir_error_set(&err, WEIR_INVALID, "there is no command `%s`%s%s%s", options.operands[0], near != NULL ? "; did you mean `" : "",
                             near != NULL ? near : "", near != NULL ? "`?" : "");
        return usage_error(err.text);
    }
    if (!fits(command, &options, &err)) {
        return usage_error(err.text);
    }
    int status = run(command, &options);
    return fflush(stdout) == 0 ? status : WEIR_EXIT_FAILED;
}
