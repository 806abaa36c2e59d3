#include "taskmanager/exchange/writer.h"

#include "common/base/assert.h"
#include "common/base/vec.h"
#include "common/data/rowkey.h"
#include "taskmanager/exchange/outlet.h"

struct out_edge {
    const struct weir_edge *edge;
    struct weir_outlet *outlets;
    uint32_t count;
    uint32_t next; /* REBALANCE */
};

struct weir_writer {
    struct out_edge *edges;
    size_t nedges;
    size_t edges_cap;
    struct weir_arena *arena; /* scratch of one emit */
    uint32_t max_parallelism;
    uint32_t subtask;
    uint64_t rows;
    uint64_t bytes;
};

struct weir_writer *weir_writer_create(uint32_t max_parallelism, uint32_t subtask)
{
    weir_assert(max_parallelism > 0);
    struct weir_writer *writer = weir_calloc(1, sizeof(*writer));
    writer->arena = weir_arena_create(0);
    writer->max_parallelism = max_parallelism;
    writer->subtask = subtask;
    return writer;
}

void weir_writer_destroy(struct weir_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    for (size_t e = 0; e < writer->nedges; e++) {
        for (uint32_t i = 0; i < writer->edges[e].count; i++) {
            weir_outlet_fini(&writer->edges[e].outlets[i]);
        }
        weir_free(writer->edges[e].outlets);
    }
    weir_free(writer->edges);
    weir_arena_destroy(writer->arena);
    weir_free(writer);
}

void weir_writer_add_edge_take(struct weir_writer *writer, const struct weir_edge *edge, struct weir_channel *const *channels, uint32_t count)
{
    weir_assert(count > 0);
    weir_assert(edge->exchange != WEIR_EXCHANGE_FORWARD || count == 1);
    writer->edges = weir_vec_grow(writer->edges, &writer->edges_cap, sizeof(*writer->edges), writer->nedges + 1);
    struct out_edge *out = &writer->edges[writer->nedges++];
    *out = (struct out_edge){
        .edge = edge,
        .outlets = weir_calloc(count, sizeof(*out->outlets)),
        .count = count,
        .next = writer->subtask % count,
    };
    for (uint32_t i = 0; i < count; i++) {
        weir_outlet_init_take(&out->outlets[i], channels[i]);
    }
}

static void send_batch_take(struct weir_outlet *outlet, struct weir_batch *batch)
{
    weir_outlet_send(outlet, (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = batch});
}

/* Splits the batch by key group owner: a counting sort of row indices, then one gathered batch a channel. */
static void emit_hash(struct weir_writer *writer, struct out_edge *out, const struct weir_batch *batch)
{
    uint32_t rows = weir_batch_rows(batch);
    uint64_t *hashes = weir_arena_alloc(writer->arena, rows * sizeof(*hashes));
    uint16_t *target = weir_arena_alloc(writer->arena, rows * sizeof(*target));
    uint16_t *order = weir_arena_alloc(writer->arena, rows * sizeof(*order));
    uint32_t *start = weir_arena_zalloc(writer->arena, (out->count + 1) * sizeof(*start));
    weir_rowkeys_hash(batch, out->edge->keys, out->edge->nkeys, writer->arena, hashes);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t group = weir_key_group(hashes[i], writer->max_parallelism);
        uint32_t to = weir_key_group_owner(group, writer->max_parallelism, out->count);
        target[i] = (uint16_t)to;
        start[to + 1]++;
    }
    for (uint32_t to = 0; to < out->count; to++) {
        start[to + 1] += start[to];
    }
    uint32_t *at = weir_arena_alloc(writer->arena, out->count * sizeof(*at));
    memcpy(at, start, out->count * sizeof(*at));
    const uint16_t *sel = weir_batch_sel(batch);
    for (uint32_t i = 0; i < rows; i++) {
        order[at[target[i]]++] = sel == NULL ? (uint16_t)i : sel[i];
    }
    for (uint32_t to = 0; to < out->count; to++) {
        uint32_t count = start[to + 1] - start[to];
        if (count != 0) {
            send_batch_take(&out->outlets[to], weir_batch_gather(batch, order + start[to], count));
        }
    }
}

static void emit_edge(struct weir_writer *writer, struct out_edge *out, struct weir_batch *batch)
{
    switch (out->edge->exchange) {
    case WEIR_EXCHANGE_FORWARD:
        send_batch_take(&out->outlets[0], weir_batch_ref(batch));
        return;
    case WEIR_EXCHANGE_REBALANCE:
        send_batch_take(&out->outlets[out->next], weir_batch_ref(batch));
        out->next = (out->next + 1) % out->count;
        return;
    case WEIR_EXCHANGE_BROADCAST:
        for (uint32_t i = 0; i < out->count; i++) {
            send_batch_take(&out->outlets[i], weir_batch_ref(batch));
        }
        return;
    case WEIR_EXCHANGE_HASH:
        if (out->count == 1) {
            send_batch_take(&out->outlets[0], weir_batch_ref(batch));
            return;
        }
        emit_hash(writer, out, batch);
        return;
    }
    weir_assert(false);
}

static void emit_take(struct weir_writer *writer, struct weir_batch *batch, bool side)
{
    if (weir_batch_rows(batch) != 0) {
        for (size_t e = 0; e < writer->nedges; e++) {
            if (writer->edges[e].edge->side != side) {
                continue;
            }
            writer->rows += weir_batch_rows(batch);
            writer->bytes += weir_batch_bytes(batch);
            emit_edge(writer, &writer->edges[e], batch);
        }
        weir_arena_reset(writer->arena);
    }
    weir_batch_unref(batch);
}

void weir_writer_emit_take(struct weir_writer *writer, struct weir_batch *batch)
{
    emit_take(writer, batch, false);
}

void weir_writer_emit_side_take(struct weir_writer *writer, struct weir_batch *batch)
{
    emit_take(writer, batch, true);
}

void weir_writer_broadcast(struct weir_writer *writer, struct weir_element element)
{
    weir_assert(element.kind != WEIR_ELEMENT_BATCH);
    for (size_t e = 0; e < writer->nedges; e++) {
        for (uint32_t i = 0; i < writer->edges[e].count; i++) {
            weir_outlet_send(&writer->edges[e].outlets[i], element);
        }
    }
}

bool weir_writer_drained(struct weir_writer *writer)
{
    bool drained = true;
    for (size_t e = 0; e < writer->nedges; e++) {
        for (uint32_t i = 0; i < writer->edges[e].count; i++) {
            drained &= weir_outlet_drain(&writer->edges[e].outlets[i]);
        }
    }
    return drained;
}

bool weir_writer_ready(struct weir_writer *writer)
{
    if (!weir_writer_drained(writer)) {
        return false;
    }
    bool room = true;
    for (size_t e = 0; e < writer->nedges; e++) {
        for (uint32_t i = 0; i < writer->edges[e].count; i++) {
            room &= weir_channel_has_room(writer->edges[e].outlets[i].channel);
        }
    }
    return room;
}

uint64_t weir_writer_rows(const struct weir_writer *writer)
{
    return writer->rows;
}

uint64_t weir_writer_bytes(const struct weir_writer *writer)
{
    return writer->bytes;
}
