/*
 * The network of the chaos tests: an Ethernet switch in user space. Each host is a network namespace of its own with one TAP device; every
 * frame passes through here and may be delayed, lost or cut, for each ordered pair of hosts, so also one way only. (The kernel of the test
 * machines has no netem.) Namespaces and devices have no names outside and vanish with this process: nothing is left to clean up.
 *
 *   chaos-wire HOSTS SEED       host 0 is the caller's namespace. Prints "ready FD ..." with a descriptor for each host's namespace
 *                               (/proc/PID/fd/FD); its device is `net0`, its MAC address 02:00:00:00:00:HOST.
 *
 * Commands on stdin, each answered by "ok": `set FROM TO CUT DELAY_US JITTER_US LOSS_PPM`; end of input ends it. There is no ARP (frames to
 * all are dropped): neighbours are entered by hand, so a cut link is silent and never "host unreachable".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { HOSTS_MAX = 16, FRAME_MAX = 65536, HEADER_BYTES = 14, HELD_MAX = 20000, BURST = 64 };

struct held {
    struct held *next;
    int64_t due_us;
    size_t len;
    uint8_t bytes[];
};

/* From one host to another. Held frames keep their order. */
struct path {
    bool cut;
    int64_t delay_us;
    int64_t jitter_us;
    uint32_t loss_ppm;
    struct held *first;
    struct held *last;
    uint32_t nheld;
};

struct wire {
    int nhosts;
    int taps[HOSTS_MAX];
    int namespaces[HOSTS_MAX];
    struct path paths[HOSTS_MAX][HOSTS_MAX];
    uint64_t random;
    char command[4096];
    size_t command_len;
};

static void die(const char *what)
{
    fprintf(stderr, "chaos-wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t draw(struct wire *wire)
{
    wire->random ^= wire->random << 13;
    wire->random ^= wire->random >> 7;
    wire->random ^= wire->random << 17;
    return wire->random;
}

static int open_tap(void)
{
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    memcpy(request.ifr_name, "net0", 5);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) != 0) {
        die("/dev/net/tun");
    }
    return tap;
}

static void make_hosts(struct wire *wire)
{
    for (int i = 0; i < wire->nhosts; i++) {
        if (i > 0 && unshare(CLONE_NEWNET) != 0) {
            die("unshare");
        }
        wire->namespaces[i] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (wire->namespaces[i] < 0) {
            die("/proc/thread-self/ns/net");
        }
        wire->taps[i] = open_tap();
    }
    if (setns(wire->namespaces[0], CLONE_NEWNET) != 0) {
        die("setns");
    }
}

/* A frame that finds no room is lost, as on any wire. */
static void deliver(const struct wire *wire, int to, const uint8_t *frame, size_t len)
{
    ssize_t written = write(wire->taps[to], frame, len);
    (void)written;
}

static void hold(struct path *path, const uint8_t *frame, size_t len, int64_t due_us)
{
    struct held *held = path->nheld < HELD_MAX ? malloc(sizeof(*held) + len) : NULL;
    if (held == NULL) {
        return;
    }
    held->next = NULL;
    held->due_us = path->last != NULL && path->last->due_us > due_us ? path->last->due_us : due_us;
    held->len = len;
    memcpy(held->bytes, frame, len);
    if (path->last != NULL) {
        path->last->next = held;
    } else {
        path->first = held;
    }
    path->last = held;
    path->nheld++;
}

static void forward(struct wire *wire, int from, const uint8_t *frame, size_t len)
{
    if (len < HEADER_BYTES || frame[0] != 2 || frame[5] >= wire->nhosts) {
        return;
    }
    int to = frame[5];
    struct path *path = &wire->paths[from][to];
    if (path->cut || (path->loss_ppm > 0 && draw(wire) % 1000000 < path->loss_ppm)) {
        return;
    }
    if (path->delay_us == 0 && path->jitter_us == 0 && path->first == NULL) {
        deliver(wire, to, frame, len);
        return;
    }
    int64_t jitter_us = path->jitter_us > 0 ? (int64_t)(draw(wire) % (uint64_t)path->jitter_us) : 0;
    hold(path, frame, len, now_us() + path->delay_us + jitter_us);
}

/* Delivers what is due; returns how long the next one has still to wait, -1: there is none. */
static int64_t deliver_due(struct wire *wire)
{
    int64_t now = now_us();
    int64_t wait_us = -1;
    for (int from = 0; from < wire->nhosts; from++) {
        for (int to = 0; to < wire->nhosts; to++) {
            struct path *path = &wire->paths[from][to];
            while (path->first != NULL && (path->cut || path->first->due_us <= now)) {
                struct held *held = path->first;
                if (!path->cut) {
                    deliver(wire, to, held->bytes, held->len);
                }
                path->first = held->next;
                path->last = path->first != NULL ? path->last : NULL;
                path->nheld--;
                free(held);
            }
            if (path->first != NULL && (wait_us < 0 || path->first->due_us - now < wait_us)) {
                wait_us = path->first->due_us - now;
            }
        }
    }
    return wait_us;
}

static void obey(struct wire *wire, const char *line)
{
    int from, to, cut;
    long long delay_us, jitter_us;
    unsigned loss_ppm;
    if (sscanf(line, "set %d %d %d %lld %lld %u", &from, &to, &cut, &delay_us, &jitter_us, &loss_ppm) != 6 || from < 0 || to < 0 ||
        from >= wire->nhosts || to >= wire->nhosts) {
        fprintf(stderr, "chaos-wire: no such command: %s\n", line);
        exit(2);
    }
    struct path *path = &wire->paths[from][to];
    path->cut = cut != 0;
    path->delay_us = delay_us;
    path->jitter_us = jitter_us;
    path->loss_ppm = loss_ppm;
    puts("ok");
}

static void read_commands(struct wire *wire)
{
    ssize_t got = read(STDIN_FILENO, wire->command + wire->command_len, sizeof(wire->command) - wire->command_len - 1);
    if (got <= 0) {
        exit(0);
    }
    wire->command_len += (size_t)got;
    wire->command[wire->command_len] = '\0';
    char *line = wire->command;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        obey(wire, line);
    }
    wire->command_len = strlen(line);
    memmove(wire->command, line, wire->command_len + 1);
    fflush(stdout);
}

static void drain_tap(struct wire *wire, int from)
{
    uint8_t frame[FRAME_MAX];
    for (int i = 0; i < BURST; i++) { /* then the others have their turn */
        ssize_t len = read(wire->taps[from], frame, sizeof(frame));
        if (len <= 0) {
            return;
        }
        forward(wire, from, frame, (size_t)len);
    }
}

static void run(struct wire *wire)
{
    struct pollfd polls[HOSTS_MAX + 1];
    for (int i = 0; i < wire->nhosts; i++) {
        polls[i] = (struct pollfd){.fd = wire->taps[i], .events = POLLIN};
    }
    polls[wire->nhosts] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        int64_t wait_us = deliver_due(wire);
        struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
        if (ppoll(polls, (nfds_t)wire->nhosts + 1, wait_us < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR) {
            die("ppoll");
        }
        for (int i = 0; i < wire->nhosts; i++) {
            if (polls[i].revents != 0) {
                drain_tap(wire, i);
            }
        }
        if (polls[wire->nhosts].revents != 0) {
            read_commands(wire);
        }
    }
}

int main(int argc, char **argv)
{
    static struct wire wire;
    wire.nhosts = argc == 3 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (wire.nhosts < 2 || wire.nhosts > HOSTS_MAX) {
        fprintf(stderr, "usage: chaos-wire HOSTS SEED: see the head of chaos_wire.c\n");
        return 2;
    }
    wire.random = strtoull(argv[2], NULL, 10) * 2654435761u + 88172645463325252u;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    make_hosts(&wire);
    printf("ready");
    for (int i = 0; i < wire.nhosts; i++) {
        printf(" %d", wire.namespaces[i]);
    }
    printf("\n");
    fflush(stdout);
    run(&wire);
    return 0;
}
