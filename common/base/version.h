/*
 * The version of this tree, as daemons, client and HTTP API show it. The client names it in a header of each request; the API refuses another
 * one. Whoever sends no such header (a browser, curl, Flink's tools) is served.
 */
#ifndef WEIR_COMMON_BASE_VERSION_H
#define WEIR_COMMON_BASE_VERSION_H

#define WEIR_VERSION "0.1.0"
#define WEIR_VERSION_HEADER "Weir-Version"

#endif
