#include "common/net/stream.h"

/*
 * Plain, an operation of the user's is one of nng's. By TLS it is not: the user's send and receive wait in struct secure, `pump` moves bytes
 * between them, the session (tls_session.h) and the wire as far as they go, and whoever pumped then tells the user what has ended.
 */
#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/tls_session.h"
#include "common/runtime/sync.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <stdio.h>

/* The end of an operation that its user is still to be told. */
struct ended {
    bool is;
    enum weir_rc rc;
    size_t bytes;
};

/* A stream's part for TLS. */
struct secure {
    struct weir_tls *tls;
    struct weir__tls_session *session;
    const char *side;
    int64_t deadline_ms;     /* of the handshake; 0 until it begins */
    bool established;
    struct weir_buf sending; /* encrypted, on the wire */
    bool wire_sending, wire_receiving;
    bool send_wanted, receive_wanted; /* the user's operations; what is left to send is in the stream's runs */
    uint8_t *into;
    size_t into_bytes_max;
    enum weir_rc failed; /* what every operation ends with; OK: alive */
    struct ended sent, received;
    nng_aio *helper_aio; /* calls a library thread: to tell the user, to encrypt much */
    bool helping;
};

struct weir_stream {
    nng_stream *stream;
    nng_aio *send_aio;
    nng_aio *receive_aio;
    struct weir_stream_callbacks callbacks;
    void *ctx;
    nng_iov runs[WEIR_STREAM_RUNS_MAX]; /* what is left to send */
    unsigned nruns;
    struct weir_mutex mutex; /* guards closed and secure, and orders submits against closed */
    bool closed;
    struct secure *secure; /* NULL: plain */
};

enum { ACCEPT_PAUSE_MS = 50, WIRE_READ_BYTES = 64 << 10, WIRE_GATHER_BYTES = 256 << 10, ENCRYPT_HERE_BYTES_MAX = 16 << 10, URL_BYTES = 300 };

struct weir_stream_listener {
    nng_stream_listener *listener;
    nng_aio *aio;
    nng_aio *pause_aio;
    void (*on_accept)(void *ctx, struct weir_stream *stream);
    void *ctx;
    uint16_t port;
    struct weir_stream_guard guard; /* tls is NULL: plain */
};

struct weir_stream_dial {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream);
    void *ctx;
    char *host;                     /* as certificates name it */
    struct weir_stream_guard guard; /* tls is NULL: plain */
};

static enum weir_rc rc_of(int nng_error)
{
    switch (nng_error) {
    case 0:
        return WEIR_OK;
    case NNG_ETIMEDOUT:
        return WEIR_TIMEOUT;
    case NNG_EADDRINUSE:
        return WEIR_EXISTS;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
        return WEIR_INVALID;
    case NNG_ECLOSED:
    case NNG_ECONNRESET:
    case NNG_ECONNREFUSED:
    case NNG_ECONNSHUT:
    case NNG_ECANCELED:
        return WEIR_CLOSED;
    default:
        return WEIR_IO;
    }
}

static nng_aio *aio_create(void (*callback)(void *), void *ctx)
{
    nng_aio *aio = NULL;
    int failed = nng_aio_alloc(&aio, callback, ctx);
    weir_assert(failed == 0); /* memory only */
    nng_aio_set_timeout(aio, NNG_DURATION_INFINITE);
    return aio;
}

/* --- what both kinds of stream have ----------------------------------------------------------------------------------- */

/* nng 1.5.2 never completes what is submitted to a closed stream: it is aborted here instead. */
static void submit_locked(struct weir_stream *stream, nng_aio *aio, void (*operation)(nng_stream *, nng_aio *))
{
    operation(stream->stream, aio);
    if (stream->closed) {
        nng_aio_abort(aio, NNG_ECLOSED);
    }
}

/* Takes `bytes` off the front of the runs. */
static void advance_runs(struct weir_stream *stream, size_t bytes)
{
    unsigned first = 0;
    while (first < stream->nruns && bytes >= stream->runs[first].iov_len) {
        bytes -= stream->runs[first].iov_len;
        first++;
    }
    stream->nruns -= first;
    for (unsigned i = 0; i < stream->nruns; i++) {
        stream->runs[i] = stream->runs[first + i];
    }
    if (stream->nruns > 0) {
        stream->runs[0].iov_buf = (uint8_t *)stream->runs[0].iov_buf + bytes;
        stream->runs[0].iov_len -= bytes;
    }
}

/* --- TLS -------------------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real()); /* the library's time-outs are real time too */
}

static void format_peer(struct weir_stream *stream, char *out, size_t out_bytes)
{
    nng_sockaddr address;
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;
    if (nng_stream_get_addr(stream->stream, NNG_OPT_REMADDR, &address) == 0) {
        if (address.s_family == NNG_AF_INET) {
            (void)inet_ntop(AF_INET, &address.s_in.sa_addr, host, sizeof(host));
            port = ntohs(address.s_in.sa_port);
        } else if (address.s_family == NNG_AF_INET6) {
            (void)inet_ntop(AF_INET6, address.s_in6.sa_addr, host, sizeof(host));
            port = ntohs(address.s_in6.sa_port);
        }
    }
    (void)snprintf(out, out_bytes, "%s:%u", host, port);
}

/* Before the handshake's end it is a refusal, for the book. */
static void fail_locked(struct weir_stream *stream, enum weir_rc rc, const char *why)
{
    struct secure *secure = stream->secure;
    if (secure->failed != WEIR_OK) {
        return;
    }
    secure->failed = rc;
    if (!secure->established && !stream->closed) {
        char peer[INET6_ADDRSTRLEN + 8];
        format_peer(stream, peer, sizeof(peer));
        weir__tls_refused(secure->tls, secure->side, peer, why);
    }
}

static void shake_hands_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    enum weir_rc rc = weir__tls_session_handshake(secure->session);
    if (rc == WEIR_OK) {
        secure->established = true;
        nng_aio_set_timeout(stream->receive_aio, NNG_DURATION_INFINITE);
        weir__tls_established(secure->tls);
    } else if (rc != WEIR_AGAIN) {
        fail_locked(stream, rc, weir__tls_session_why(secure->session));
    }
}

static void decrypt_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    size_t bytes = 0;
    enum weir_rc rc = weir__tls_session_read(secure->session, secure->into, secure->into_bytes_max, &bytes);
    if (rc == WEIR_OK) {
        secure->receive_wanted = false;
        secure->received = (struct ended){.is = true, .rc = WEIR_OK, .bytes = bytes};
    } else if (rc != WEIR_AGAIN) {
        fail_locked(stream, rc, weir__tls_session_why(secure->session));
    }
}

/* Runs into records, as many as the wire should take at once. */
static void encrypt_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    while (stream->nruns > 0 && weir__tls_session_out(secure->session)->len < WIRE_GATHER_BYTES && secure->failed == WEIR_OK) {
        size_t bytes = 0;
        struct weir_slice run = weir_slice(stream->runs[0].iov_buf, stream->runs[0].iov_len);
        enum weir_rc rc = run.len == 0 ? WEIR_OK : weir__tls_session_write(secure->session, run, &bytes);
        if (rc == WEIR_OK) {
            advance_runs(stream, bytes);
        } else {
            fail_locked(stream, rc, weir__tls_session_why(secure->session));
        }
    }
}

static void wire_send_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    struct weir_buf *out = weir__tls_session_out(secure->session);
    if (secure->wire_sending || out->len == 0 || stream->closed) {
        return;
    }
    struct weir_buf empty = secure->sending;
    weir_buf_clear(&empty);
    secure->sending = *out;
    *out = empty;
    nng_iov run = {.iov_buf = secure->sending.data, .iov_len = secure->sending.len};
    int failed = nng_aio_set_iov(stream->send_aio, 1, &run);
    weir_assert(failed == 0);
    secure->wire_sending = true;
    submit_locked(stream, stream->send_aio, nng_stream_send);
}

static void wire_receive_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    if (secure->wire_receiving || stream->closed) {
        return;
    }
    nng_iov run = {.iov_buf = weir_buf_reserve(weir__tls_session_in(secure->session), WIRE_READ_BYTES), .iov_len = WIRE_READ_BYTES};
    int failed = nng_aio_set_iov(stream->receive_aio, 1, &run);
    weir_assert(failed == 0);
    if (!secure->established) {
        int64_t left_ms = secure->deadline_ms - now_ms();
        nng_aio_set_timeout(stream->receive_aio, left_ms < 1 ? 1 : (nng_duration)left_ms);
    }
    secure->wire_receiving = true;
    submit_locked(stream, stream->receive_aio, nng_stream_recv);
}

/* What has failed ends what is asked for, but not before the alert that says so is on the wire. */
static void end_failed_locked(struct secure *secure)
{
    if (secure->wire_sending) {
        return;
    }
    if (secure->send_wanted) {
        secure->send_wanted = false;
        secure->sent = (struct ended){.is = true, .rc = secure->failed};
    }
    if (secure->receive_wanted) {
        secure->receive_wanted = false;
        secure->received = (struct ended){.is = true, .rc = secure->failed};
    }
}

/* While an operation is wanted and nothing has failed, something is in flight on the wire, so that its end is noticed. */
static void pump_locked(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    if (stream->closed) {
        fail_locked(stream, WEIR_CLOSED, "");
    }
    if (secure->failed == WEIR_OK && !secure->established) {
        shake_hands_locked(stream);
    }
    if (secure->established && secure->receive_wanted && secure->failed == WEIR_OK) {
        decrypt_locked(stream);
    }
    if (secure->established && secure->send_wanted) {
        encrypt_locked(stream);
    }
    wire_send_locked(stream);
    if (secure->established && secure->send_wanted) {
        encrypt_locked(stream); /* the next portion, while the first is on the wire */
    }
    if (secure->failed != WEIR_OK) {
        end_failed_locked(secure);
        return;
    }
    if (secure->send_wanted && stream->nruns == 0 && !secure->wire_sending) {
        secure->send_wanted = false;
        secure->sent = (struct ended){.is = true, .rc = WEIR_OK};
    }
    if (secure->receive_wanted || !secure->established) {
        wire_receive_locked(stream);
    }
}

/* Takes the lock's fruit and tells it; without the lock. */
static void tell_unlock(struct weir_stream *stream)
{
    struct ended sent = stream->secure->sent;
    struct ended received = stream->secure->received;
    stream->secure->sent.is = false;
    stream->secure->received.is = false;
    weir_mutex_unlock(&stream->mutex);
    if (received.is) {
        stream->callbacks.on_received(stream->ctx, received.rc, received.bytes);
    }
    if (sent.is) {
        stream->callbacks.on_sent(stream->ctx, sent.rc);
    }
}

static void on_helper_aio(void *ctx)
{
    struct weir_stream *stream = ctx;
    weir_mutex_lock(&stream->mutex);
    stream->secure->helping = false;
    pump_locked(stream);
    tell_unlock(stream);
}

static void call_helper_locked(struct secure *secure)
{
    if (!secure->helping && nng_aio_begin(secure->helper_aio)) {
        secure->helping = true;
        nng_aio_finish(secure->helper_aio, 0);
    }
}

/* A user's call: pumps, and lets a library thread tell what has ended by it. A send of many bytes is all the library's: the user's thread may be the
 * one that feeds every stream of a TaskManager. */
static void pump_for_user_unlock(struct weir_stream *stream, size_t bytes)
{
    struct secure *secure = stream->secure;
    secure->deadline_ms = secure->deadline_ms == 0 ? now_ms() + weir__tls_handshake_ms(secure->tls) : secure->deadline_ms;
    if (bytes <= ENCRYPT_HERE_BYTES_MAX) {
        pump_locked(stream);
    }
    if (bytes > ENCRYPT_HERE_BYTES_MAX || secure->sent.is || secure->received.is) {
        call_helper_locked(secure);
    }
    weir_mutex_unlock(&stream->mutex);
}

static void on_wire_sent(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    weir_mutex_lock(&stream->mutex);
    int result = nng_aio_result(stream->send_aio);
    size_t bytes = result == 0 ? nng_aio_count(stream->send_aio) : 0;
    if (result == 0 && bytes < secure->sending.len) {
        memmove(secure->sending.data, secure->sending.data + bytes, secure->sending.len - bytes);
        secure->sending.len -= bytes;
        nng_iov run = {.iov_buf = secure->sending.data, .iov_len = secure->sending.len};
        int failed = nng_aio_set_iov(stream->send_aio, 1, &run);
        weir_assert(failed == 0);
        submit_locked(stream, stream->send_aio, nng_stream_send);
        weir_mutex_unlock(&stream->mutex);
        return;
    }
    secure->wire_sending = false;
    if (result != 0) {
        fail_locked(stream, rc_of(result), "the connection was closed during the handshake");
    }
    pump_locked(stream);
    tell_unlock(stream);
}

static void on_wire_received(struct weir_stream *stream)
{
    struct secure *secure = stream->secure;
    weir_mutex_lock(&stream->mutex);
    int result = nng_aio_result(stream->receive_aio);
    size_t bytes = result == 0 ? nng_aio_count(stream->receive_aio) : 0;
    secure->wire_receiving = false;
    if (result == NNG_ETIMEDOUT) {
        fail_locked(stream, WEIR_TIMEOUT, "no handshake before the deadline");
    } else if (result != 0 || bytes == 0) {
        fail_locked(stream, result == 0 ? WEIR_CLOSED : rc_of(result), "the connection was closed during the handshake");
    }
    weir__tls_session_in(secure->session)->len += bytes;
    pump_locked(stream);
    tell_unlock(stream);
}

static void secure_destroy(struct secure *secure)
{
    if (secure == NULL) {
        return;
    }
    nng_aio_stop(secure->helper_aio);
    nng_aio_free(secure->helper_aio);
    weir__tls_session_destroy(secure->session);
    weir_buf_fini(&secure->sending);
    weir_free(secure);
}

/* --- streams --------------------------------------------------------------------------------------------------------- */

static void submit_send(struct weir_stream *stream)
{
    int failed = nng_aio_set_iov(stream->send_aio, stream->nruns, stream->runs);
    weir_assert(failed == 0);
    weir_mutex_lock(&stream->mutex);
    submit_locked(stream, stream->send_aio, nng_stream_send);
    weir_mutex_unlock(&stream->mutex);
}

static void on_send_aio(void *ctx)
{
    struct weir_stream *stream = ctx;
    if (stream->secure != NULL) {
        on_wire_sent(stream);
        return;
    }
    int result = nng_aio_result(stream->send_aio);
    if (result == 0) {
        advance_runs(stream, nng_aio_count(stream->send_aio));
        if (stream->nruns > 0) {
            submit_send(stream);
            return;
        }
    }
    stream->callbacks.on_sent(stream->ctx, rc_of(result));
}

static void on_receive_aio(void *ctx)
{
    struct weir_stream *stream = ctx;
    if (stream->secure != NULL) {
        on_wire_received(stream);
        return;
    }
    int result = nng_aio_result(stream->receive_aio);
    size_t bytes = result == 0 ? nng_aio_count(stream->receive_aio) : 0;
    enum weir_rc rc = result == 0 && bytes == 0 ? WEIR_CLOSED : rc_of(result);
    stream->callbacks.on_received(stream->ctx, rc, bytes);
}

/* host: whom we have dialed, NULL when the peer did. */
static struct weir_stream *stream_create_take(nng_stream *nng, const struct weir_stream_guard *guard, const char *host)
{
    struct weir_stream *stream = weir_calloc(1, sizeof(*stream));
    stream->stream = nng;
    weir_mutex_init(&stream->mutex);
    stream->send_aio = aio_create(on_send_aio, stream);
    stream->receive_aio = aio_create(on_receive_aio, stream);
    if (guard->tls != NULL) {
        struct weir__tls_identity *identity = weir__tls_identity(guard->tls);
        stream->secure = weir_calloc(1, sizeof(*stream->secure));
        stream->secure->tls = guard->tls;
        stream->secure->side = host != NULL ? "dialed" : "accepted";
        stream->secure->session = weir__tls_session_create(identity, host, guard->peer_role);
        stream->secure->helper_aio = aio_create(on_helper_aio, stream);
        weir__tls_identity_unref(identity);
    }
    (void)nng_stream_set_bool(nng, NNG_OPT_TCP_NODELAY, true); /* hints: a stream without them still works */
    (void)nng_stream_set_bool(nng, NNG_OPT_TCP_KEEPALIVE, true);
    return stream;
}

void weir_stream_attach(struct weir_stream *stream, const struct weir_stream_callbacks *callbacks, void *ctx)
{
    stream->callbacks = *callbacks;
    stream->ctx = ctx;
}

/* Returns the bytes of all. */
static size_t set_runs(struct weir_stream *stream, const struct weir_slice *runs, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        union { /* nng's iov is not const, though it only reads */
            const uint8_t *from;
            void *to;
        } cast = {.from = runs[i].data};
        stream->runs[i] = (nng_iov){.iov_buf = cast.to, .iov_len = runs[i].len};
        bytes += runs[i].len;
    }
    stream->nruns = count;
    return bytes;
}

void weir_stream_send(struct weir_stream *stream, const struct weir_slice *runs, uint32_t count)
{
    weir_assert(count > 0);
    weir_assert(count <= WEIR_STREAM_RUNS_MAX);
    if (stream->secure == NULL) {
        (void)set_runs(stream, runs, count);
        submit_send(stream);
        return;
    }
    weir_mutex_lock(&stream->mutex);
    weir_assert(!stream->secure->send_wanted);
    size_t bytes = set_runs(stream, runs, count);
    stream->secure->send_wanted = true;
    pump_for_user_unlock(stream, bytes);
}

void weir_stream_receive(struct weir_stream *stream, uint8_t *into, size_t bytes_max)
{
    weir_mutex_lock(&stream->mutex);
    if (stream->secure != NULL) {
        weir_assert(!stream->secure->receive_wanted);
        stream->secure->into = into;
        stream->secure->into_bytes_max = bytes_max;
        stream->secure->receive_wanted = true;
        pump_for_user_unlock(stream, 0);
        return;
    }
    nng_iov run = {.iov_buf = into, .iov_len = bytes_max};
    int failed = nng_aio_set_iov(stream->receive_aio, 1, &run);
    weir_assert(failed == 0);
    submit_locked(stream, stream->receive_aio, nng_stream_recv);
    weir_mutex_unlock(&stream->mutex);
}

const char *weir_stream_peer_role(struct weir_stream *stream)
{
    weir_mutex_lock(&stream->mutex);
    const char *role = stream->secure == NULL ? "" : weir__tls_session_peer_role(stream->secure->session);
    weir_mutex_unlock(&stream->mutex);
    return role;
}

void weir_stream_close(struct weir_stream *stream)
{
    weir_mutex_lock(&stream->mutex);
    stream->closed = true;
    nng_stream_close(stream->stream);
    weir_mutex_unlock(&stream->mutex);
}

void weir_stream_destroy(struct weir_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    weir_stream_close(stream);
    nng_aio_stop(stream->send_aio);
    nng_aio_stop(stream->receive_aio);
    nng_aio_free(stream->send_aio);
    nng_aio_free(stream->receive_aio);
    secure_destroy(stream->secure);
    nng_stream_free(stream->stream);
    weir_mutex_fini(&stream->mutex);
    weir_free(stream);
}

/* --- listening ------------------------------------------------------------------------------------------------------- */

static void on_accept_aio(void *ctx)
{
    struct weir_stream_listener *listener = ctx;
    int result = nng_aio_result(listener->aio);
    if (result == 0) {
        listener->on_accept(listener->ctx, stream_create_take(nng_aio_get_output(listener->aio, 0), &listener->guard, NULL));
    }
    if (result == 0) {
        nng_stream_listener_accept(listener->listener, listener->aio);
    } else if (result != NNG_ECLOSED && result != NNG_ECANCELED) { /* out of descriptors, say: not again at once, for ever */
        nng_sleep_aio(ACCEPT_PAUSE_MS, listener->pause_aio);
    }
}

static void on_pause_aio(void *ctx)
{
    struct weir_stream_listener *listener = ctx;
    if (nng_aio_result(listener->pause_aio) == 0) {
        nng_stream_listener_accept(listener->listener, listener->aio);
    }
}

enum weir_rc weir_stream_listen(const char *host, uint16_t port, const struct weir_stream_guard *guard,
                                void (*on_accept)(void *ctx, struct weir_stream *stream_take), void *ctx,
                                struct weir_stream_listener **out_listener, struct weir_error *err)
{
    char url[URL_BYTES];
    (void)snprintf(url, sizeof(url), "tcp://%s:%u", host, port);
    nng_stream_listener *nng = NULL;
    int failed = nng_stream_listener_alloc(&nng, url);
    if (failed == 0) {
        failed = nng_stream_listener_listen(nng);
    }
    int bound = 0;
    if (failed == 0) {
        failed = nng_stream_listener_get_int(nng, NNG_OPT_TCP_BOUND_PORT, &bound);
    }
    if (failed != 0) {
        if (nng != NULL) {
            nng_stream_listener_free(nng);
        }
        return weir_error_set(err, rc_of(failed), "cannot listen on %s: %s", url, nng_strerror(failed));
    }
    struct weir_stream_listener *listener = weir_calloc(1, sizeof(*listener));
    listener->listener = nng;
    listener->aio = aio_create(on_accept_aio, listener);
    listener->pause_aio = aio_create(on_pause_aio, listener);
    listener->on_accept = on_accept;
    listener->ctx = ctx;
    listener->port = (uint16_t)bound;
    listener->guard = guard == NULL ? (struct weir_stream_guard){0} : *guard;
    *out_listener = listener;
    nng_stream_listener_accept(nng, listener->aio);
    return WEIR_OK;
}

uint16_t weir_stream_listener_port(const struct weir_stream_listener *listener)
{
    return listener->port;
}

void weir_stream_listener_destroy(struct weir_stream_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    nng_stream_listener_close(listener->listener);
    nng_aio_stop(listener->aio);
    nng_aio_stop(listener->pause_aio);
    nng_aio_free(listener->aio);
    nng_aio_free(listener->pause_aio);
    nng_stream_listener_free(listener->listener);
    weir_free(listener);
}

/* --- dialing --------------------------------------------------------------------------------------------------------- */

static void on_dial_aio(void *ctx)
{
    struct weir_stream_dial *dial = ctx;
    int result = nng_aio_result(dial->aio);
    struct weir_stream *stream = result == 0 ? stream_create_take(nng_aio_get_output(dial->aio, 0), &dial->guard, dial->host) : NULL;
    dial->on_dialed(dial->ctx, rc_of(result), stream);
}

enum weir_rc weir_stream_dial(const char *address, const struct weir_stream_guard *guard, uint32_t timeout_ms,
                              void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream_take), void *ctx,
                              struct weir_stream_dial **out_dial, struct weir_error *err)
{
    char url[URL_BYTES];
    (void)snprintf(url, sizeof(url), "tcp://%s", address);
    nng_stream_dialer *nng = NULL;
    int failed = nng_stream_dialer_alloc(&nng, url);
    if (failed != 0) {
        return weir_error_set(err, WEIR_INVALID, "cannot dial %s: %s", url, nng_strerror(failed));
    }
    struct weir_stream_dial *dial = weir_calloc(1, sizeof(*dial));
    const char *colon = strrchr(address, ':');
    dial->dialer = nng;
    dial->host = weir_strndup(address, colon == NULL ? strlen(address) : (size_t)(colon - address));
    dial->guard = guard == NULL ? (struct weir_stream_guard){0} : *guard;
    dial->aio = aio_create(on_dial_aio, dial);
    dial->on_dialed = on_dialed;
    dial->ctx = ctx;
    *out_dial = dial; /* before the callback can come */
    nng_aio_set_timeout(dial->aio, (nng_duration)timeout_ms);
    nng_stream_dialer_dial(nng, dial->aio);
    return WEIR_OK;
}

void weir_stream_dial_destroy(struct weir_stream_dial *dial)
{
    if (dial == NULL) {
        return;
    }
    nng_stream_dialer_close(dial->dialer);
    nng_aio_stop(dial->aio);
    nng_aio_free(dial->aio);
    nng_stream_dialer_free(dial->dialer);
    weir_free(dial->host);
    weir_free(dial);
}
