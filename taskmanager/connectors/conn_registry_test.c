#include "taskmanager/connectors/connector.h"

#include "common/catalog/connector_desc.h"
#include "taskmanager/formats/format.h"

#include <check.h>

START_TEST(the_catalog_and_the_code_agree)
{
    uint32_t sources = 0;
    uint32_t sinks = 0;
    for (uint32_t i = 0; weir_connector_desc_at(i) != NULL; i++) {
        const struct weir_connector_desc *desc = weir_connector_desc_at(i);
        const struct weir_source_vtable *source = weir_conn_source(desc->name);
        const struct weir_sink_vtable *sink = weir_conn_sink(desc->name);
        ck_assert_msg((source != NULL) == ((desc->roles & WEIR_ROLE_SOURCE) != 0), "source %s", desc->name);
        ck_assert_msg((sink != NULL) == ((desc->roles & WEIR_ROLE_SINK) != 0), "sink %s", desc->name);
        sources += source != NULL;
        sinks += sink != NULL;
        if (source != NULL) {
            struct weir_table_spec table = {.name = "t", .connector = desc->name};
            ck_assert_str_eq(source->connector, desc->name);
            ck_assert(source->bounded(&table) == weir_connector_bounded(&table));
        }
    }
    ck_assert_uint_eq(sources, 3);
    ck_assert_uint_eq(sinks, 5);
    for (uint32_t i = 0; weir_format_desc_at(i) != NULL; i++) {
        ck_assert_ptr_nonnull(weir_format_find(weir_format_desc_at(i)->name));
    }
    ck_assert_ptr_null(weir_conn_source("nothing"));
    ck_assert_ptr_null(weir_conn_sink("datagen"));
}
END_TEST

Suite *conn_registry_suite(void);
Suite *conn_registry_suite(void)
{
    Suite *suite = suite_create("conn_registry");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, the_catalog_and_the_code_agree);
    suite_add_tcase(suite, tc);
    return suite;
}
