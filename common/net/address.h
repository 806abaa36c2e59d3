/*
 * Addresses as text: "host:port" ("[::1]:6123" too), and what goes into a URL.
 */
#ifndef WEIR_COMMON_NET_ADDRESS_H
#define WEIR_COMMON_NET_ADDRESS_H

#include "common/base/buf.h"

#include <stdbool.h>

enum { WEIR_ADDRESS_BYTES_MAX = 300 }; /* with the NUL; names of hosts have at most 253 */

/* Whether text is host:port with a port from 1 to 65535. The host is not looked up; it has no character that ends a host in a URL or a list. */
bool weir_address_valid(struct weir_slice text);

/* "host:port" of a host as it is configured; an IPv6 address gets brackets. By weir_malloc. */
char *weir_address_copy(const char *host, uint16_t port);

/* Appends text percent-encoded (RFC 3986, 2.1): all but the unreserved characters and those in `also`, such as the slashes of a path. */
void weir_url_put_encoded(struct weir_buf *out, const char *text, const char *also);

#endif
