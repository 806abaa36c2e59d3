#include "jobmanager/job/effect.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

struct weir_effect *weir_effects_add(struct weir_effects *effects, enum weir_effect_kind kind)
{
    if (effects->first > 0 && effects->first + effects->len == effects->cap) {
        memmove(effects->items, effects->items + effects->first, effects->len * sizeof(*effects->items));
        effects->first = 0;
    }
    effects->items = weir_vec_grow(effects->items, &effects->cap, sizeof(*effects->items), effects->first + effects->len + 1);
    struct weir_effect *effect = weir_calloc(1, sizeof(*effect));
    effect->kind = kind;
    effect->epoch = effects->epoch;
    effects->items[effects->first + effects->len++] = effect;
    return effect;
}

struct weir_effect *weir_effects_add_order(struct weir_effects *effects, enum weir_effect_kind kind, const char *tm_id, const char *job_id,
                                           uint32_t attempt)
{
    weir_assert(strlen(job_id) <= WEIR_JOB_ID_TEXT);
    struct weir_effect *effect = weir_effects_add(effects, kind);
    effect->tm_id = weir_strdup(tm_id);
    (void)snprintf(effect->job_id, sizeof(effect->job_id), "%s", job_id);
    effect->attempt = attempt;
    return effect;
}

struct weir_effect *weir_effects_take(struct weir_effects *effects)
{
    if (effects->len == 0) {
        return NULL;
    }
    effects->len--;
    return effects->items[effects->first++];
}

void weir_effect_destroy(struct weir_effect *effect)
{
    if (effect != NULL) {
        weir_buf_fini(&effect->bytes);
        weir_free(effect->path);
        weir_free(effect->tm_id);
        weir_free(effect);
    }
}

void weir_effects_fini(struct weir_effects *effects)
{
    for (struct weir_effect *effect = weir_effects_take(effects); effect != NULL; effect = weir_effects_take(effects)) {
        weir_effect_destroy(effect);
    }
    weir_free(effects->items);
    *effects = (struct weir_effects){0};
}
