#include "taskmanager/exchange/outlet.h"

#include "common/base/vec.h"

void weir_outlet_init_take(struct weir_outlet *outlet, struct weir_channel *channel)
{
    *outlet = (struct weir_outlet){.channel = channel};
}

void weir_outlet_fini(struct weir_outlet *outlet)
{
    for (size_t i = outlet->kept_head; i < outlet->kept_len; i++) {
        weir_batch_unref(outlet->kept[i].batch);
    }
    weir_free(outlet->kept);
    weir_channel_release_producer(outlet->channel);
    *outlet = (struct weir_outlet){0};
}

bool weir_outlet_drain(struct weir_outlet *outlet)
{
    while (outlet->kept_head < outlet->kept_len) {
        struct weir_element element = outlet->kept[outlet->kept_head];
        if (element.kind == WEIR_ELEMENT_BATCH && !weir_channel_has_room(outlet->channel)) {
            return false;
        }
        if (!weir_channel_push(outlet->channel, element)) {
            return false;
        }
        outlet->kept_head++;
    }
    outlet->kept_head = 0;
    outlet->kept_len = 0;
    return true;
}

static void keep(struct weir_outlet *outlet, struct weir_element element)
{
    bool last_is_watermark = outlet->kept_len > outlet->kept_head && outlet->kept[outlet->kept_len - 1].kind == WEIR_ELEMENT_WATERMARK;
    if (element.kind == WEIR_ELEMENT_WATERMARK && last_is_watermark) {
        outlet->kept[outlet->kept_len - 1] = element;
        return;
    }
    outlet->kept = weir_vec_grow(outlet->kept, &outlet->kept_cap, sizeof(*outlet->kept), outlet->kept_len + 1);
    outlet->kept[outlet->kept_len++] = element;
}

void weir_outlet_send(struct weir_outlet *outlet, struct weir_element element)
{
    bool clear = weir_outlet_drain(outlet);
    bool room = element.kind != WEIR_ELEMENT_BATCH || weir_channel_has_room(outlet->channel);
    if (!clear || !room || !weir_channel_push(outlet->channel, element)) {
        keep(outlet, element);
    }
}
