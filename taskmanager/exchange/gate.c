#include "taskmanager/exchange/gate.h"

#include "common/base/assert.h"
#include "common/base/vec.h"

struct input_channel {
    struct weir_channel *channel;
    uint32_t input;
    int64_t watermark_ms;
    bool idle;
    bool ended;
    bool blocked; /* has delivered the barrier being aligned */
};

struct weir_gate {
    struct input_channel *channels;
    size_t nchannels;
    size_t channels_cap;
    size_t next; /* where the fair scan goes on */
    uint32_t ninputs;
    int64_t watermark_ms;    /* handed out */
    int64_t watermark_due_ms; /* > watermark_ms: to be handed out */
    bool idle;               /* handed out */
    bool idle_due;
    bool end_due;
    uint64_t aligning; /* checkpoint, 0: none */
    uint64_t settled;  /* the newest checkpoint handed out or given up */
    bool barrier_due;
};

struct weir_gate *weir_gate_create(uint32_t inputs)
{
    struct weir_gate *gate = weir_calloc(1, sizeof(*gate));
    gate->ninputs = inputs;
    gate->watermark_ms = INT64_MIN;
    gate->watermark_due_ms = INT64_MIN;
    return gate;
}

void weir_gate_destroy(struct weir_gate *gate)
{
    if (gate == NULL) {
        return;
    }
    for (size_t i = 0; i < gate->nchannels; i++) {
        weir_channel_release_consumer(gate->channels[i].channel);
    }
    weir_free(gate->channels);
    weir_free(gate);
}

void weir_gate_add_channel_take(struct weir_gate *gate, uint32_t input, struct weir_channel *channel)
{
    weir_assert(input < gate->ninputs);
    gate->channels = weir_vec_grow(gate->channels, &gate->channels_cap, sizeof(*gate->channels), gate->nchannels + 1);
    gate->channels[gate->nchannels++] = (struct input_channel){
        .channel = channel,
        .input = input,
        .watermark_ms = INT64_MIN,
    };
}

/* Recomputes what follows from the channels' states: watermark, idleness, end. The minimum over inputs of the minimum over their channels
 * is the minimum over all channels, so inputs need no pass of their own. */
static void recompute(struct weir_gate *gate)
{
    int64_t least = INT64_MAX;
    bool any_active = false;
    bool all_ended = true;
    for (size_t i = 0; i < gate->nchannels; i++) {
        const struct input_channel *channel = &gate->channels[i];
        if (channel->ended) {
            continue;
        }
        all_ended = false;
        if (!channel->idle) {
            any_active = true;
            least = channel->watermark_ms < least ? channel->watermark_ms : least;
        }
    }
    if (all_ended) {
        gate->watermark_due_ms = INT64_MAX;
        gate->end_due = true;
    } else if (any_active) {
        gate->idle = false;
        gate->idle_due = false;
        if (least > gate->watermark_due_ms) {
            gate->watermark_due_ms = least;
        }
    } else {
        gate->idle_due = true;
    }
}

/* The end of an alignment: whatever it was, nothing of that checkpoint counts any more. */
static void release_blocked(struct weir_gate *gate)
{
    gate->settled = gate->aligning;
    gate->aligning = 0;
    gate->barrier_due = false;
    for (size_t i = 0; i < gate->nchannels; i++) {
        gate->channels[i].blocked = false;
    }
}

/* G5: whether the barrier has come on every channel. */
static void check_aligned(struct weir_gate *gate)
{
    for (size_t i = 0; i < gate->nchannels; i++) {
        const struct input_channel *channel = &gate->channels[i];
        if (!channel->blocked && !(channel->ended && weir_channel_closed(channel->channel))) {
            return;
        }
    }
    gate->barrier_due = true;
}

static void take_barrier(struct weir_gate *gate, struct input_channel *channel, uint64_t checkpoint)
{
    if (checkpoint <= gate->settled || checkpoint < gate->aligning) {
        return;
    }
    if (gate->aligning != 0 && checkpoint > gate->aligning) {
        release_blocked(gate);
    }
    gate->aligning = checkpoint;
    channel->blocked = true;
    check_aligned(gate);
}

void weir_gate_abort(struct weir_gate *gate, uint64_t checkpoint)
{
    if (gate->aligning == checkpoint) {
        release_blocked(gate);
    }
    gate->settled = checkpoint > gate->settled ? checkpoint : gate->settled;
}

uint64_t weir_gate_aligning(const struct weir_gate *gate)
{
    return gate->aligning;
}

/* What is due before any further element may be taken. */
static bool take_due(struct weir_gate *gate, struct weir_gate_event *out_event)
{
    if (gate->watermark_due_ms > gate->watermark_ms) {
        gate->watermark_ms = gate->watermark_due_ms;
        *out_event = (struct weir_gate_event){.kind = WEIR_GATE_WATERMARK, .watermark_ms = gate->watermark_ms};
        return true;
    }
    if (gate->end_due) {
        gate->end_due = false;
        *out_event = (struct weir_gate_event){.kind = WEIR_GATE_END};
        return true;
    }
    if (gate->barrier_due) {
        gate->barrier_due = false;
        *out_event = (struct weir_gate_event){.kind = WEIR_GATE_BARRIER, .checkpoint = gate->aligning};
        release_blocked(gate);
        return true;
    }
    if (gate->idle_due && !gate->idle) {
        gate->idle_due = false;
        gate->idle = true;
        *out_event = (struct weir_gate_event){.kind = WEIR_GATE_IDLE};
        return true;
    }
    return false;
}

static enum weir_rc broken(const struct weir_gate *gate, const struct input_channel *channel, struct weir_error *err)
{
    return weir_error_set(err, WEIR_CLOSED, "input %u, channel %zu of %zu: the sender is gone before it ended", channel->input,
                          (size_t)(channel - gate->channels), gate->nchannels);
}

/* Applies a control element; true when an event may be due now. */
static bool apply_control(struct weir_gate *gate, struct input_channel *channel, const struct weir_element *element)
{
    switch (element->kind) {
    case WEIR_ELEMENT_WATERMARK:
        channel->idle = false;
        if (element->value > channel->watermark_ms) {
            channel->watermark_ms = element->value;
        }
        break;
    case WEIR_ELEMENT_IDLE:
        channel->idle = true;
        break;
    case WEIR_ELEMENT_END:
        channel->ended = true;
        break;
    case WEIR_ELEMENT_BARRIER:
        take_barrier(gate, channel, (uint64_t)element->value);
        return gate->barrier_due;
    case WEIR_ELEMENT_NONE:
    case WEIR_ELEMENT_BATCH:
        return false;
    }
    recompute(gate);
    return true;
}

enum weir_rc weir_gate_poll(struct weir_gate *gate, struct weir_gate_event *out_event, struct weir_error *err)
{
    *out_event = (struct weir_gate_event){.kind = WEIR_GATE_NOTHING};
    if (gate->aligning != 0 && !gate->barrier_due) {
        check_aligned(gate); /* a channel may have closed after its END meanwhile */
    }
    if (take_due(gate, out_event)) {
        return WEIR_OK;
    }
    for (size_t quiet = 0; quiet < gate->nchannels;) {
        struct input_channel *channel = &gate->channels[gate->next];
        gate->next = (gate->next + 1) % gate->nchannels;
        quiet++;
        if (channel->blocked) {
            continue;
        }
        struct weir_element element = weir_channel_pop(channel->channel);
        if (element.kind == WEIR_ELEMENT_NONE) {
            if (!channel->ended && weir_channel_closed(channel->channel)) {
                return broken(gate, channel, err);
            }
            continue;
        }
        if (element.kind == WEIR_ELEMENT_BATCH) {
            channel->idle = false;
            gate->idle = false;
            gate->idle_due = false;
            *out_event = (struct weir_gate_event){.kind = WEIR_GATE_BATCH, .input = channel->input, .batch = element.batch};
            return WEIR_OK;
        }
        if (apply_control(gate, channel, &element) && take_due(gate, out_event)) {
            return WEIR_OK;
        }
        quiet = 0; /* the element gave nothing to do: look at everybody again */
    }
    return WEIR_OK;
}
