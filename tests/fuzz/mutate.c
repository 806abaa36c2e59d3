#include "tests/fuzz/mutate.h"

static size_t below(struct weir_rand *rand, size_t bound)
{
    return bound == 0 ? 0 : (size_t)weir_rand_below(rand, bound);
}

/* Puts `piece` in at a random place. */
static void insert(struct weir_buf *input, struct weir_slice piece, struct weir_rand *rand)
{
    size_t at = below(rand, input->len + 1);
    (void)weir_buf_reserve(input, piece.len + 1);
    memmove(input->data + at + piece.len, input->data + at, input->len - at);
    if (piece.len > 0) {
        memcpy(input->data + at, piece.data, piece.len);
    }
    input->len += piece.len;
}

static struct weir_slice piece_of(struct weir_slice whole, struct weir_rand *rand)
{
    size_t from = below(rand, whole.len);
    size_t len = below(rand, whole.len - from + 1);
    return weir_slice(whole.data + from, weir_rand_below(rand, 2) == 0 && len > 16 ? len % 16 : len);
}

static void insert_copies(struct weir_buf *input, struct weir_slice piece, size_t copies, size_t bytes_max, struct weir_rand *rand)
{
    struct weir_buf run = {0};
    for (size_t i = 0; i < copies && run.len + piece.len <= bytes_max; i++) {
        weir_buf_put_slice(&run, piece);
    }
    insert(input, weir_buf_slice(&run), rand);
    weir_buf_fini(&run);
}

/* 1, 2, 4 or 8 bytes become a number that decoders trip over, in either byte order. */
static void put_number(struct weir_buf *input, struct weir_rand *rand)
{
    static const uint64_t edges[] = {0, 1, 2, 127, 128, 255, 256, 4095, 4096, 4097, 32767, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
                                     0x100000000, 0x3fffffffffffffff, 0x4000000000000000, 0x7fffffffffffffff, UINT64_MAX};
    size_t width = (size_t)1 << weir_rand_below(rand, 4);
    uint64_t number = edges[below(rand, sizeof(edges) / sizeof(edges[0]))] + weir_rand_below(rand, 3) - 1;
    if (input->len < width) {
        return;
    }
    uint8_t *at = input->data + below(rand, input->len - width + 1);
    bool big_endian = weir_rand_below(rand, 4) == 0;
    for (size_t i = 0; i < width; i++) {
        at[i] = (uint8_t)(number >> 8 * (big_endian ? width - 1 - i : i));
    }
}

static void erase(struct weir_buf *input, struct weir_rand *rand)
{
    size_t from = below(rand, input->len);
    size_t len = below(rand, input->len - from + 1);
    len = weir_rand_below(rand, 2) == 0 ? len % 9 : len;
    if (len > 0) {
        memmove(input->data + from, input->data + from + len, input->len - from - len);
        input->len -= len;
    }
}

static void change_bytes(struct weir_buf *input, struct weir_rand *rand)
{
    if (input->len == 0) {
        return;
    }
    uint8_t *at = input->data + below(rand, input->len);
    switch (weir_rand_below(rand, 4)) {
    case 0:
        *at ^= (uint8_t)(1u << weir_rand_below(rand, 8));
        return;
    case 1:
        *at = (uint8_t)weir_rand_u64(rand);
        return;
    case 2:
        *at = (uint8_t)(*at + weir_rand_below(rand, 35) - 17);
        return;
    default:
        put_number(input, rand);
    }
}

static void mutate_once(struct weir_buf *input, struct weir_slice other, const char *const *tokens, uint32_t ntokens, size_t bytes_max,
                        struct weir_rand *rand)
{
    static const uint16_t copies[] = {2, 3, 8, 64, 300, 5000};
    struct weir_buf piece = {0};
    weir_buf_put_slice(&piece, piece_of(weir_rand_below(rand, 2) == 0 ? other : weir_buf_slice(input), rand));
    switch (weir_rand_below(rand, ntokens > 0 ? 10 : 8)) {
    case 0:
        erase(input, rand);
        break;
    case 1:
        insert(input, weir_buf_slice(&piece), rand);
        break;
    case 2:
        insert_copies(input, weir_slice(piece.data, piece.len % 24), copies[below(rand, 6)], bytes_max, rand);
        break;
    case 3:
        if (piece.len <= input->len && piece.len > 0) { /* over what is there */
            memcpy(input->data + below(rand, input->len - piece.len + 1), piece.data, piece.len);
        }
        break;
    case 4:
        if (weir_rand_below(rand, 4) == 0) { /* cut short */
            input->len = below(rand, input->len + 1);
        }
        break;
    case 8:
    case 9:
        if (weir_rand_below(rand, 16) == 0) {
            insert_copies(input, weir_slice_str(tokens[below(rand, ntokens)]), copies[below(rand, 6)], bytes_max, rand);
        } else {
            insert(input, weir_slice_str(tokens[below(rand, ntokens)]), rand);
        }
        break;
    default:
        change_bytes(input, rand);
    }
    weir_buf_fini(&piece);
    input->len = input->len < bytes_max ? input->len : bytes_max;
}

void weir_mutate(struct weir_buf *input, struct weir_slice other, const char *const *tokens, size_t bytes_max, struct weir_rand *rand)
{
    uint32_t ntokens = 0;
    while (tokens != NULL && tokens[ntokens] != NULL) {
        ntokens++;
    }
    for (uint64_t times = 1 + (weir_rand_u64(rand) & weir_rand_u64(rand) & 7); times > 0; times--) {
        mutate_once(input, other, tokens, ntokens, bytes_max, rand);
    }
}
