#include "common/runtime/timer.h"

#include "common/base/assert.h"

static bool before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    const struct weir_timer *left = WEIR_CONTAINER_OF(a, struct weir_timer, priv.node);
    const struct weir_timer *right = WEIR_CONTAINER_OF(b, struct weir_timer, priv.node);
    if (left->priv.deadline_ns != right->priv.deadline_ns) {
        return left->priv.deadline_ns < right->priv.deadline_ns;
    }
    return left->priv.order < right->priv.order;
}

void weir_timers_init(struct weir_timers *timers)
{
    weir_heap_init(&timers->priv.heap, before);
    timers->priv.next_order = 0;
}

void weir_timers_fini(struct weir_timers *timers)
{
    weir_assert(weir_heap_peek(&timers->priv.heap) == NULL);
    weir_heap_fini(&timers->priv.heap);
}

void weir_timers_cancel(struct weir_timers *timers, struct weir_timer *timer)
{
    if (weir_heap_linked(&timer->priv.node)) {
        weir_heap_remove(&timers->priv.heap, &timer->priv.node);
    }
    weir_list_remove(&timer->priv.due);
}

void weir_timers_add(struct weir_timers *timers, struct weir_timer *timer, int64_t deadline_ns)
{
    weir_assert(timer->fire != NULL);
    weir_timers_cancel(timers, timer);
    timer->priv.deadline_ns = deadline_ns;
    timer->priv.order = timers->priv.next_order++;
    weir_heap_push(&timers->priv.heap, &timer->priv.node);
}

bool weir_timer_armed(const struct weir_timer *timer)
{
    return weir_heap_linked(&timer->priv.node) || weir_list_linked(&timer->priv.due);
}

int64_t weir_timers_next_deadline(const struct weir_timers *timers)
{
    const struct weir_heap_node *first = weir_heap_peek(&timers->priv.heap);
    return first == NULL ? INT64_MAX : WEIR_CONTAINER_OF(first, struct weir_timer, priv.node)->priv.deadline_ns;
}

struct weir_timer *weir_timers_pop_due(struct weir_timers *timers, int64_t now_ns)
{
    if (weir_heap_peek(&timers->priv.heap) == NULL || weir_timers_next_deadline(timers) > now_ns) {
        return NULL;
    }
    return WEIR_CONTAINER_OF(weir_heap_pop(&timers->priv.heap), struct weir_timer, priv.node);
}

size_t weir_timers_run_due(struct weir_timers *timers, int64_t now_ns)
{
    struct weir_list due;
    weir_list_init(&due);
    for (struct weir_timer *timer = weir_timers_pop_due(timers, now_ns); timer != NULL;
         timer = weir_timers_pop_due(timers, now_ns)) {
        weir_list_push_back(&due, &timer->priv.due);
    }
    size_t fired = 0;
    for (struct weir_list *node = weir_list_pop_front(&due); node != NULL; node = weir_list_pop_front(&due)) {
        struct weir_timer *timer = WEIR_CONTAINER_OF(node, struct weir_timer, priv.due);
        timer->fire(timer->ctx); /* may cancel, re-arm or free any timer, this one included */
        fired++;
    }
    return fired;
}
