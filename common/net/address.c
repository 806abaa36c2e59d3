#include "common/net/address.h"

#include "common/base/mem.h"

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool weir_address_valid(struct weir_slice text)
{
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    size_t digits = text.len - colon; /* colon: behind it, or 0 */
    if (colon < 2 || digits < 1 || digits > 5 || text.len >= WEIR_ADDRESS_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i + 1 < colon; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || strchr("/?#@,", text.data[i]) != NULL) {
            return false;
        }
    }
    uint32_t port = 0;
    for (size_t i = colon; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port > 0 && port <= UINT16_MAX;
}

char *weir_address_copy(const char *host, uint16_t port)
{
    bool bare_ip6 = strchr(host, ':') != NULL && host[0] != '[';
    return weir_strfmt(bare_ip6 ? "[%s]:%u" : "%s:%u", host, port);
}

void weir_url_put_encoded(struct weir_buf *out, const char *text, const char *also)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (is_alnum((uint8_t)*c) || strchr("-._~", *c) != NULL || strchr(also, *c) != NULL) {
            weir_buf_put_u8(out, (uint8_t)*c);
        } else {
            weir_buf_put_fmt(out, "%%%02X", (unsigned)(uint8_t)*c);
        }
    }
}
