/*
 * The fuzz driver: weir-fuzz [--seconds N] [--seed N] [--jobs N] [--input-ms N] [--out DIR] [TARGET ...]; weir-fuzz --replay FILE TARGET.
 *
 * A target's process keeps in memory the inputs that reached something new, and makes further ones from them. The parent watches it: it has
 * crashed, or an input took too long, or memory rose over the cap: then the input is written to DIR/crash-<target>-<hash>, and the
 * target has failed. The last line is `N passed, N failed, 0 skipped`.
 */
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "tests/fuzz/cover.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUT_MS_DEFAULT = 5000, STUCK_FACTOR = 12, GROWTH_RUNS = 4, TARGETS_MAX = 16, JOBS_MAX = 16, WATCH_MS = 100 };

static const struct weir_fuzz_target *const targets[] = {&weir_fuzz_json,       &weir_fuzz_jobfile,    &weir_fuzz_expr, &weir_fuzz_frames,
                                                         &weir_fuzz_control,    &weir_fuzz_plan,       &weir_fuzz_log,  &weir_fuzz_raft,
                                                         &weir_fuzz_raft_store, &weir_fuzz_checkpoint, &weir_fuzz_rest, &weir_fuzz_tls};

enum { NTARGETS = sizeof(targets) / sizeof(targets[0]) };

struct options {
    int64_t seconds;
    uint64_t seed;
    uint32_t jobs;
    int64_t input_ms_max; /* of one input, of the processor's time; STUCK_FACTOR times that where it only waits */
    const char *out;
    const char *corpus;
    const char *replay;
};

/* Shared with the parent. */
struct window {
    _Atomic uint64_t inputs; /* begun */
    uint64_t kept;
    uint32_t edges;
    uint32_t len;
    uint8_t input[WEIR_FUZZ_INPUT_BYTES_MAX];
};

/* A target's process. */
struct fuzzer {
    const struct weir_fuzz_target *target;
    void *state;
    struct window *window;
    int64_t input_ms_max;
    struct weir_slice *corpus;
    size_t ncorpus, corpus_cap;
    struct weir_rand rand;
};

const char *__asan_default_options(void);
size_t __sanitizer_get_current_allocated_bytes(void); /* gcc 12 has it, but not its header */

/* The cap of the resident set, freed memory that ASan holds back included. */
const char *__asan_default_options(void)
{
    return "hard_rss_limit_mb=256:max_allocation_size_mb=192:quarantine_size_mb=16:malloc_context_size=12:detect_stack_use_after_return=0";
}

/* --- in the target's process ------------------------------------------------------------------------------------------ */

/* Whether each run of the input leaves memory behind that nothing points to. */
static void check_leak(struct fuzzer *fuzzer, struct weir_slice input)
{
    for (int i = 0; i < GROWTH_RUNS; i++) {
        size_t before = __sanitizer_get_current_allocated_bytes();
        fuzzer->target->run(fuzzer->state, input);
        if (__sanitizer_get_current_allocated_bytes() <= before) {
            return;
        }
    }
    weir_assert(__lsan_do_recoverable_leak_check() == 0);
}

static void keep(struct fuzzer *fuzzer, struct weir_slice input)
{
    fuzzer->corpus = weir_vec_grow(fuzzer->corpus, &fuzzer->corpus_cap, sizeof(*fuzzer->corpus), fuzzer->ncorpus + 1);
    fuzzer->corpus[fuzzer->ncorpus++] = weir_slice(weir_strndup(input.data, input.len), input.len);
    fuzzer->window->kept = fuzzer->ncorpus;
    fuzzer->window->edges = weir_cover_edges();
}

/* SIGPROF ends the process. The time that passes says nothing: the machine may be busy with other things. */
static void limit_time(int64_t ms)
{
    const struct itimerval limit = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    (void)setitimer(ITIMER_PROF, &limit, NULL);
}

static void try(struct fuzzer *fuzzer, struct weir_slice input, bool keep_anyway)
{
    struct window *window = fuzzer->window;
    window->len = (uint32_t)input.len;
    if (input.len > 0) {
        memcpy(window->input, input.data, input.len);
    }
    atomic_fetch_add(&window->inputs, 1);
    limit_time(fuzzer->input_ms_max);
    uint8_t *copy = weir_malloc(input.len); /* of exactly its size: a read beyond it is seen */
    if (input.len > 0) {
        memcpy(copy, input.data, input.len);
    }
    size_t before = __sanitizer_get_current_allocated_bytes();
    weir_cover_begin();
    fuzzer->target->run(fuzzer->state, weir_slice(copy, input.len));
    bool new = weir_cover_end();
    if (__sanitizer_get_current_allocated_bytes() > before) {
        check_leak(fuzzer, weir_slice(copy, input.len));
    }
    weir_free(copy);
    if (new || keep_anyway) {
        keep(fuzzer, input);
    }
}

static void add_seed(void *ctx, struct weir_slice input)
{
    weir_assert(input.len <= WEIR_FUZZ_INPUT_BYTES_MAX);
    try(ctx, input, true);
}

static bool read_whole(const char *path, struct weir_buf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    uint8_t *to = weir_buf_reserve(out, WEIR_FUZZ_INPUT_BYTES_MAX);
    out->len = fread(to, 1, WEIR_FUZZ_INPUT_BYTES_MAX, file);
    (void)fclose(file);
    return true;
}

static void add_file(struct fuzzer *fuzzer, struct weir_slice text)
{
    while (fuzzer->target->lines && text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        add_seed(fuzzer, weir_slice(text.data, len));
        text = weir_slice(text.data + len + (end != NULL), text.len - len - (end != NULL));
    }
    if (!fuzzer->target->lines) {
        add_seed(fuzzer, text);
    }
}

static void add_corpus(struct fuzzer *fuzzer, const char *folder)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, alphasort); /* in this order on every machine */
    for (int i = 0; i < count; i++) {
        struct weir_buf bytes = {0};
        char *path = weir_strfmt("%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && read_whole(path, &bytes)) {
            add_file(fuzzer, weir_buf_slice(&bytes));
        }
        weir_buf_fini(&bytes);
        weir_free(path);
        free(names[i]);
    }
    free(names);
}

static void fuzz(const struct weir_fuzz_target *target, const struct options *options, struct window *window)
{
    struct fuzzer fuzzer = {.target = target, .window = window, .input_ms_max = options->input_ms_max, .state = target->create()};
    weir_rand_init(&fuzzer.rand, weir_hash_bytes(target->name, strlen(target->name), options->seed));
    char *folder = weir_strfmt("%s/%s", options->corpus, target->name);
    add_seed(&fuzzer, weir_slice(NULL, 0));
    add_corpus(&fuzzer, folder);
    if (target->also != NULL) {
        add_corpus(&fuzzer, target->also);
    }
    if (target->seed != NULL) {
        target->seed(fuzzer.state, add_seed, &fuzzer);
    }
    int64_t end_ms = weir_clock_mono_ms(weir_clock_real()) + options->seconds * 1000;
    struct weir_buf input = {0};
    while (weir_clock_mono_ms(weir_clock_real()) < end_ms) {
        uint64_t a = weir_rand_below(&fuzzer.rand, fuzzer.ncorpus);
        uint64_t b = weir_rand_below(&fuzzer.rand, fuzzer.ncorpus);
        weir_buf_clear(&input);
        weir_buf_put_slice(&input, fuzzer.corpus[a]);
        weir_mutate(&input, fuzzer.corpus[b], target->tokens, WEIR_FUZZ_INPUT_BYTES_MAX, &fuzzer.rand);
        try(&fuzzer, weir_buf_slice(&input), false);
    }
    weir_buf_fini(&input);
    weir_free(folder);
    for (size_t i = 0; i < fuzzer.ncorpus; i++) {
        weir_free((void *)(uintptr_t)fuzzer.corpus[i].data);
    }
    weir_free(fuzzer.corpus);
    target->destroy(fuzzer.state);
}

/* --- the parent ------------------------------------------------------------------------------------------------------- */

struct child {
    const struct weir_fuzz_target *target;
    struct window *window;
    pid_t pid; /* 0: not running */
    uint64_t inputs_seen;
    int64_t since_ms; /* the input that runs has been seen running since */
    int64_t began_ms;
    bool hung;
};

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real());
}

static void start(struct child *child, const struct weir_fuzz_target *target, const struct options *options)
{
    void *shared = mmap(NULL, sizeof(struct window), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    weir_assert(shared != MAP_FAILED);
    *child = (struct child){.target = target, .window = shared, .since_ms = now_ms(), .began_ms = now_ms()};
    (void)fflush(NULL);
    child->pid = fork();
    weir_assert(child->pid >= 0);
    if (child->pid == 0) {
        fuzz(target, options, child->window);
        exit(EXIT_SUCCESS); /* through LeakSanitizer */
    }
}

static void write_crash(const struct child *child, const struct options *options)
{
    const struct window *window = child->window;
    char *path = weir_strfmt("%s/crash-%s-%016" PRIx64, options->out, child->target->name, weir_hash_bytes(window->input, window->len, 0));
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(window->input, 1, window->len, file) != window->len || fclose(file) != 0) {
        (void)fprintf(stderr, "cannot write %s\n", path);
    }
    printf("fuzz %s: its input, %" PRIu32 " bytes, is in %s; replay it: %s/weir-fuzz --replay %s %s\n", child->target->name, window->len, path,
           options->out, path, child->target->name);
    weir_free(path);
}

/* The child has ended. Whether all was well. */
static bool finish(struct child *child, int status, const struct options *options)
{
    const struct window *window = child->window;
    bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool slow = child->hung || (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF);
    printf("fuzz %s: %s: %" PRIu64 " inputs in %" PRId64 " s, %" PRIu64 " kept, %" PRIu32 " edges, seed %" PRIu64 "\n", child->target->name,
           passed ? "passed"
           : slow ? "FAILED: an input takes too long"
                  : "FAILED",
           atomic_load(&window->inputs), (now_ms() - child->began_ms) / 1000, window->kept, window->edges, options->seed);
    if (!passed) {
        write_crash(child, options);
    }
    (void)fflush(stdout);
    (void)munmap(child->window, sizeof(struct window));
    child->pid = 0;
    return passed;
}

static void watch(struct child *child, const struct options *options)
{
    uint64_t inputs = atomic_load(&child->window->inputs);
    if (inputs != child->inputs_seen) {
        child->inputs_seen = inputs;
        child->since_ms = now_ms();
    } else if (now_ms() - child->since_ms > STUCK_FACTOR * options->input_ms_max && !child->hung) {
        child->hung = true;
        (void)kill(child->pid, SIGKILL);
    }
}

static int run_all(const struct weir_fuzz_target *const *chosen, uint32_t count, const struct options *options)
{
    struct child children[JOBS_MAX] = {0};
    uint32_t started = 0, ended = 0, failed = 0;
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    while (ended < count) {
        for (uint32_t i = 0; i < options->jobs; i++) {
            int status = 0;
            if (children[i].pid != 0 && waitpid(children[i].pid, &status, WNOHANG) == children[i].pid) {
                failed += !finish(&children[i], status, options);
                ended++;
            } else if (children[i].pid != 0) {
                watch(&children[i], options);
            }
            if (children[i].pid == 0 && started < count) {
                start(&children[i], chosen[started++], options);
            }
        }
        struct timespec wait = {.tv_nsec = WATCH_MS * 1000000L};
        (void)sigtimedwait(&wanted, NULL, &wait);
    }
    printf("%" PRIu32 " passed, %" PRIu32 " failed, 0 skipped\n", count - failed, failed);
    return failed == 0 ? 0 : 1;
}

static int replay(const struct weir_fuzz_target *target, const char *path)
{
    struct weir_buf bytes = {0};
    if (!read_whole(path, &bytes)) {
        (void)fprintf(stderr, "cannot read %s\n", path);
        return 2;
    }
    void *state = target->create();
    size_t len;
    uint8_t *taken = weir_buf_take(&bytes, &len);
    uint8_t *exact = weir_realloc(taken, len == 0 ? 1 : len);
    target->run(state, weir_slice(exact, len));
    weir_free(exact);
    target->destroy(state);
    printf("%s: nothing wrong\n", path);
    return 0;
}

static const struct weir_fuzz_target *find(const char *name)
{
    for (size_t i = 0; i < NTARGETS; i++) {
        if (strcmp(targets[i]->name, name) == 0) {
            return targets[i];
        }
    }
    (void)fprintf(stderr, "no target %s; the targets are", name);
    for (size_t i = 0; i < NTARGETS; i++) {
        (void)fprintf(stderr, " %s", targets[i]->name);
    }
    (void)fprintf(stderr, "\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seconds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'r'},
                                          {"jobs", required_argument, NULL, 'j'},    {"out", required_argument, NULL, 'o'},
                                          {"replay", required_argument, NULL, 'f'},  {"input-ms", required_argument, NULL, 'm'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.seconds = 10, .seed = 1, .jobs = 2, .input_ms_max = INPUT_MS_DEFAULT, .out = "build-fuzz", .corpus = "tests/fuzz/corpus"};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 's': options.seconds = strtoll(optarg, NULL, 10); break;
        case 'r': options.seed = strtoull(optarg, NULL, 10); break;
        case 'j': options.jobs = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'm': options.input_ms_max = strtoll(optarg, NULL, 10); break;
        case 'o': options.out = optarg; break;
        case 'f': options.replay = optarg; break;
        default: return 2;
        }
    }
    const struct weir_fuzz_target *chosen[TARGETS_MAX];
    uint32_t count = 0;
    for (; optind < argc && count < TARGETS_MAX; optind++) {
        chosen[count++] = find(argv[optind]);
    }
    if (options.jobs == 0 || options.jobs > JOBS_MAX || (options.replay != NULL && count != 1)) {
        (void)fprintf(stderr, "--jobs is 1 to 16, and --replay FILE takes one target\n");
        return 2;
    }
    if (options.replay != NULL) {
        return replay(chosen[0], options.replay);
    }
    if (count == 0) {
        memcpy(chosen, targets, sizeof(targets));
        count = NTARGETS;
    }
    return run_all(chosen, count, &options);
}
