/*
 * An intrusive doubly linked list: the node is a member of the element, so linking never allocates. One thread.
 */
#ifndef WEIR_COMMON_BASE_LIST_H
#define WEIR_COMMON_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The element that contains `member` at this address. */
#define WEIR_CONTAINER_OF(pointer, type, member) ((type *)((uintptr_t)(pointer) - offsetof(type, member)))

/* A node, and also the head of a list (a ring through the head). An unlinked node points to itself or is {0}. */
struct weir_list {
    struct weir_list *prev;
    struct weir_list *next;
};

static inline void weir_list_init(struct weir_list *list)
{
    list->prev = list;
    list->next = list;
}

static inline bool weir_list_empty(const struct weir_list *list)
{
    return list->next == list;
}

/* Whether a node is in some list. */
static inline bool weir_list_linked(const struct weir_list *node)
{
    return node->next != NULL && node->next != node;
}

static inline void weir_list_insert_before(struct weir_list *position, struct weir_list *node)
{
    node->prev = position->prev;
    node->next = position;
    position->prev->next = node;
    position->prev = node;
}

static inline void weir_list_push_back(struct weir_list *list, struct weir_list *node)
{
    weir_list_insert_before(list, node);
}

static inline void weir_list_push_front(struct weir_list *list, struct weir_list *node)
{
    weir_list_insert_before(list->next, node);
}

/* Unlinks a linked node; nothing for an unlinked one. */
static inline void weir_list_remove(struct weir_list *node)
{
    if (weir_list_linked(node)) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
    }
    weir_list_init(node);
}

/* First, and the one after `node`; NULL at the end. To remove while walking, take the next one first. */
static inline struct weir_list *weir_list_first(const struct weir_list *list)
{
    return list->next == list ? NULL : list->next;
}

static inline struct weir_list *weir_list_next(const struct weir_list *list, const struct weir_list *node)
{
    return node->next == list ? NULL : node->next;
}

static inline struct weir_list *weir_list_pop_front(struct weir_list *list)
{
    struct weir_list *node = weir_list_first(list);
    if (node != NULL) {
        weir_list_remove(node);
    }
    return node;
}

#endif
