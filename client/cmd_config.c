/*
 * weir config check|show: what a daemon would run with. Asks no daemon.
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/config.h"
#include "common/base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void show_text(const struct weir_config *config)
{
    static const char *const headings[] = {"KEY", "VALUE", "ORIGIN", NULL};
    struct weir_table *table = weir_table_create(headings);
    for (int k = 0; k < WEIR_CFG_COUNT_; k++) {
        enum weir_config_key key = (enum weir_config_key)k;
        char *value = weir_config_text_copy(config, key);
        weir_table_add(table, weir_config_name(key));
        weir_table_add(table, value);
        weir_table_add(table, weir_config_origin(config, key));
        weir_free(value);
    }
    struct weir_buf out = {0};
    weir_table_render(table, &out);
    weir_print(weir_buf_slice(&out));
    weir_buf_fini(&out);
    weir_table_destroy(table);
}

static void show_json(const struct weir_config *config)
{
    json_t *list = json_array();
    for (int k = 0; k < WEIR_CFG_COUNT_; k++) {
        enum weir_config_key key = (enum weir_config_key)k;
        char *value = weir_config_text_copy(config, key);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "key", weir_config_name(key), "value", value, "origin",
                                              weir_config_origin(config, key), "help", weir_config_help(key)));
        weir_free(value);
    }
    weir_print_json_take(list);
}

enum weir_rc weir_cmd_config(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err)
{
    (void)gateway;
    bool show = strcmp(options->operands[1], "show") == 0;
    if (!show && strcmp(options->operands[1], "check") != 0) {
        *out_exit = WEIR_EXIT_USAGE;
        return weir_error_set(err, WEIR_INVALID, "`weir config %s`: expected `check` or `show`", options->operands[1]);
    }
    struct weir_config *config = weir_config_create();
    enum weir_rc rc = weir_config_load_default(config, options->config_file, getenv("WEIR_CONF_DIR"), err);
    for (uint32_t i = 0; i < options->ndefines && rc == WEIR_OK; i++) {
        rc = weir_config_set_pair(config, options->defines[i], err);
    }
    if (rc == WEIR_OK && !show) {
        rc = weir_config_check(config, err);
    }
    if (rc == WEIR_OK) {
        *out_exit = WEIR_EXIT_OK;
        if (show && (options->given & WEIR_OPTION_JSON)) {
            show_json(config);
        } else if (show) {
            show_text(config);
        } else if (options->given & WEIR_OPTION_JSON) {
            weir_print_json_take(json_pack("{s:b}", "valid", 1));
        } else {
            (void)puts("the configuration is valid");
        }
    }
    weir_config_destroy(config);
    return rc;
}
