#include "common/base/config.h"

#include <ctype.h>

enum { NAME_BYTES_MAX = 64 };

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b, ASCII case not counted. Both at most
 * NAME_BYTES_MAX. */
static size_t edit_distance(struct weir_slice a, struct weir_slice b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = tolower(a.data[i - 1]) == tolower(b.data[j - 1]);
            size_t best = above[j - 1] + (same ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && tolower(a.data[i - 1]) == tolower(b.data[j - 2]) &&
                tolower(a.data[i - 2]) == tolower(b.data[j - 1])) {
                size_t swapped = rows[(i - 2) % 3][j - 2] + 1;
                best = swapped < best ? swapped : best;
            }
            row[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

const char *weir_nearest_name(struct weir_slice name, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t least = name.len / 3 + 2; /* a third of the letters wrong is still a slip; more is another word */
    if (name.len == 0 || name.len > NAME_BYTES_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_slice candidate = weir_slice_str(names[i]);
        if (candidate.len > NAME_BYTES_MAX) {
            continue;
        }
        size_t distance = edit_distance(name, candidate);
        size_t longer = name.len > candidate.len ? name.len : candidate.len;
        if (distance < least && distance < longer) {
            least = distance;
            nearest = names[i];
        }
    }
    return nearest;
}
