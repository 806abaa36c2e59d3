#include "common/plan/agg_partial.h"

#include "common/base/assert.h"

enum { WINDOW_COLUMNS = 2, WINDOW_TIME_PRECISION = 3 };

struct weir_agg_partial_layout weir_agg_partial_layout(uint32_t nkeys, bool windowed)
{
    uint32_t first_key = windowed ? 1 : 0;
    return (struct weir_agg_partial_layout){
        .slice_end = windowed ? 0 : WEIR_NO_COLUMN,
        .first_key = first_key,
        .partials = first_key + nkeys,
        .rows = first_key + nkeys + 1,
        .count = first_key + nkeys + 2,
    };
}

static struct weir_type not_null(enum weir_type_id id)
{
    struct weir_type type = weir_type_of(id);
    type.not_null = true;
    return type;
}

enum weir_rc weir_agg_partial_schema(const struct weir_schema *raw, const uint32_t *keys, uint32_t nkeys, bool windowed,
                                     struct weir_schema **out_schema, struct weir_error *err)
{
    struct weir_agg_partial_layout layout = weir_agg_partial_layout(nkeys, windowed);
    if (nkeys > WEIR_COLUMNS_MAX || layout.count > WEIR_COLUMNS_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "%u keys are too many; expected at most %u", nkeys,
                              WEIR_COLUMNS_MAX - (layout.count - nkeys));
    }
    struct weir_field fields[WEIR_COLUMNS_MAX];
    if (windowed) {
        fields[layout.slice_end] = (struct weir_field){"$slice_end", not_null(WEIR_TYPE_BIGINT)};
    }
    for (uint32_t i = 0; i < nkeys; i++) {
        weir_assert(keys[i] < weir_schema_count(raw));
        fields[layout.first_key + i] = *weir_schema_field(raw, keys[i]);
    }
    fields[layout.partials] = (struct weir_field){"$partials", not_null(WEIR_TYPE_VARBINARY)};
    fields[layout.rows] = (struct weir_field){"$rows", not_null(WEIR_TYPE_BIGINT)};
    return weir_schema_create(fields, layout.count, WEIR_NO_COLUMN, out_schema, err);
}

enum weir_rc weir_agg_output_schema(const struct weir_schema *raw, const uint32_t *keys, uint32_t nkeys,
                                    const struct weir_agg_call *calls, uint32_t ncalls, bool windowed,
                                    struct weir_schema **out_schema, struct weir_error *err)
{
    if (nkeys > WEIR_COLUMNS_MAX || ncalls > WEIR_COLUMNS_MAX || nkeys + ncalls > WEIR_COLUMNS_MAX - WINDOW_COLUMNS) {
        return weir_error_set(err, WEIR_LIMIT, "%u keys and %u aggregates are too many; expected at most %u together", nkeys, ncalls,
                              WEIR_COLUMNS_MAX - WINDOW_COLUMNS);
    }
    struct weir_field fields[WEIR_COLUMNS_MAX];
    uint32_t count = 0;
    if (windowed) {
        struct weir_type time = not_null(WEIR_TYPE_TIMESTAMP);
        time.precision = WINDOW_TIME_PRECISION;
        fields[count++] = (struct weir_field){"window_start", time};
        fields[count++] = (struct weir_field){"window_end", time};
    }
    for (uint32_t i = 0; i < nkeys; i++) {
        weir_assert(keys[i] < weir_schema_count(raw));
        fields[count++] = *weir_schema_field(raw, keys[i]);
    }
    for (uint32_t i = 0; i < ncalls; i++) {
        fields[count++] = (struct weir_field){calls[i].name, calls[i].expr->type};
    }
    return weir_schema_create(fields, count, WEIR_NO_COLUMN, out_schema, err);
}
