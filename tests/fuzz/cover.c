#include "tests/fuzz/cover.h"

#include <string.h>

enum { EDGES = 1 << 16 };

static uint8_t counts[EDGES];
static uint8_t seen[EDGES]; /* a bit for each order of magnitude */
static uintptr_t previous;
static uint32_t edges;

void __sanitizer_cov_trace_pc(void);

/* Called by every basic block. */
void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0) * 0x9e3779b97f4a7c15u >> 48;
    uint8_t *count = &counts[(here ^ previous) % EDGES];
    *count = (uint8_t)(*count + (*count < UINT8_MAX));
    previous = here >> 1;
}

void weir_cover_begin(void)
{
    memset(counts, 0, sizeof(counts));
    previous = 0;
}

bool weir_cover_end(void)
{
    bool new = false;
    for (uint32_t at = 0; at < EDGES; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, counts + at, sizeof(word));
        for (uint32_t i = at; word != 0 && i < at + sizeof(word); i++) {
            uint8_t magnitude = (uint8_t)(counts[i] == 0 ? 0 : 1u << (31 - __builtin_clz(counts[i])));
            if ((magnitude & ~seen[i]) != 0) {
                edges += seen[i] == 0;
                seen[i] |= magnitude;
                new = true;
            }
        }
    }
    return new;
}

uint32_t weir_cover_edges(void)
{
    return edges;
}
