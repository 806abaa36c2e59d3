#include "common/net/stream.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"

#include <nng/nng.h>
#include <stdio.h>

struct weir_stream {
    nng_stream *stream;
    nng_aio *send_aio;
    nng_aio *receive_aio;
    struct weir_stream_callbacks callbacks;
    void *ctx;
    nng_iov runs[WEIR_STREAM_RUNS_MAX]; /* what is left to send */
    unsigned nruns;
    struct weir_mutex mutex; /* guards closed, and orders submits against it */
    bool closed;
};

enum { ACCEPT_PAUSE_MS = 50 };

struct weir_stream_listener {
    nng_stream_listener *listener;
    nng_aio *aio;
    nng_aio *pause_aio;
    void (*on_accept)(void *ctx, struct weir_stream *stream);
    void *ctx;
    uint16_t port;
};

struct weir_stream_dial {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream);
    void *ctx;
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

/* --- streams --------------------------------------------------------------------------------------------------------- */

/* nng 1.5.2 never completes what is submitted to a closed stream: it is aborted here instead. */
static void submit(struct weir_stream *stream, nng_aio *aio, void (*operation)(nng_stream *, nng_aio *))
{
    weir_mutex_lock(&stream->mutex);
    operation(stream->stream, aio);
    if (stream->closed) {
        nng_aio_abort(aio, NNG_ECLOSED);
    }
    weir_mutex_unlock(&stream->mutex);
}

static void submit_send(struct weir_stream *stream)
{
    int failed = nng_aio_set_iov(stream->send_aio, stream->nruns, stream->runs);
    weir_assert(failed == 0);
    submit(stream, stream->send_aio, nng_stream_send);
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

static void on_send_aio(void *ctx)
{
    struct weir_stream *stream = ctx;
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
    int result = nng_aio_result(stream->receive_aio);
    size_t bytes = result == 0 ? nng_aio_count(stream->receive_aio) : 0;
    enum weir_rc rc = result == 0 && bytes == 0 ? WEIR_CLOSED : rc_of(result);
    stream->callbacks.on_received(stream->ctx, rc, bytes);
}

static struct weir_stream *stream_create_take(nng_stream *nng)
{
    struct weir_stream *stream = weir_calloc(1, sizeof(*stream));
    stream->stream = nng;
    weir_mutex_init(&stream->mutex);
    stream->send_aio = aio_create(on_send_aio, stream);
    stream->receive_aio = aio_create(on_receive_aio, stream);
    (void)nng_stream_set_bool(nng, NNG_OPT_TCP_NODELAY, true); /* hints: a stream without them still works */
    (void)nng_stream_set_bool(nng, NNG_OPT_TCP_KEEPALIVE, true);
    return stream;
}

void weir_stream_attach(struct weir_stream *stream, const struct weir_stream_callbacks *callbacks, void *ctx)
{
    stream->callbacks = *callbacks;
    stream->ctx = ctx;
}

void weir_stream_send(struct weir_stream *stream, const struct weir_slice *runs, uint32_t count)
{
    weir_assert(count > 0);
    weir_assert(count <= WEIR_STREAM_RUNS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        union { /* nng's iov is not const, though it only reads */
            const uint8_t *from;
            void *to;
        } cast = {.from = runs[i].data};
        stream->runs[i] = (nng_iov){.iov_buf = cast.to, .iov_len = runs[i].len};
    }
    stream->nruns = count;
    submit_send(stream);
}

void weir_stream_receive(struct weir_stream *stream, uint8_t *into, size_t bytes_max)
{
    nng_iov run = {.iov_buf = into, .iov_len = bytes_max};
    int failed = nng_aio_set_iov(stream->receive_aio, 1, &run);
    weir_assert(failed == 0);
    submit(stream, stream->receive_aio, nng_stream_recv);
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
        listener->on_accept(listener->ctx, stream_create_take(nng_aio_get_output(listener->aio, 0)));
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

enum weir_rc weir_stream_listen(const char *host, uint16_t port, void (*on_accept)(void *ctx, struct weir_stream *stream_take), void *ctx,
                                struct weir_stream_listener **out_listener, struct weir_error *err)
{
    char url[256];
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
    struct weir_stream *stream = result == 0 ? stream_create_take(nng_aio_get_output(dial->aio, 0)) : NULL;
    dial->on_dialed(dial->ctx, rc_of(result), stream);
}

enum weir_rc weir_stream_dial(const char *address, uint32_t timeout_ms, void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream_take),
                              void *ctx, struct weir_stream_dial **out_dial, struct weir_error *err)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "tcp://%s", address);
    nng_stream_dialer *nng = NULL;
    int failed = nng_stream_dialer_alloc(&nng, url);
    if (failed != 0) {
        return weir_error_set(err, WEIR_INVALID, "cannot dial %s: %s", url, nng_strerror(failed));
    }
    struct weir_stream_dial *dial = weir_calloc(1, sizeof(*dial));
    dial->dialer = nng;
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
    weir_free(dial);
}
