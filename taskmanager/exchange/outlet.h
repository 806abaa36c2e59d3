/*
 * A channel's producer end with what the channel could not take yet, in order: pushing here never fails and never blocks.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_OUTLET_H
#define WEIR_TASKMANAGER_EXCHANGE_OUTLET_H

#include "taskmanager/exchange/channel.h"

struct weir_outlet {
    struct weir_channel *channel;
    struct weir_element *kept; /* FIFO: kept[kept_head .. kept_len) */
    size_t kept_head;
    size_t kept_len;
    size_t kept_cap;
};

/* The channel's producer end is the outlet's. fini releases it and drops what is kept; accepts {0}. */
void weir_outlet_init_take(struct weir_outlet *outlet, struct weir_channel *channel);
void weir_outlet_fini(struct weir_outlet *outlet);

/* Sends behind what is kept, or keeps it. A batch's reference is taken. A watermark kept last is replaced by a newer one. */
void weir_outlet_send(struct weir_outlet *outlet, struct weir_element element);

/* Sends what is kept while there is room; whether all is out. When not, the channel's producer will be woken. */
bool weir_outlet_drain(struct weir_outlet *outlet);

#endif
