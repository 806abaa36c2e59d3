#include "common/json/json.h"

#include "common/base/mem.h"
#include "common/base/rand.h"

#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static bool skip_all(struct weir_slice text)
{
    struct weir_json json = weir_json(text);
    if (!weir_json_skip(&json, 0)) {
        ck_assert_ptr_nonnull(json.problem);
        ck_assert(json.at >= text.data && json.at <= text.data + text.len);
        return false;
    }
    weir_json_skip_blank(&json);
    return json.at == json.end;
}

static bool accepts(const char *text)
{
    /* An exact heap copy, so that ASan sees a read beyond the end. */
    size_t len = strlen(text);
    uint8_t *copy = weir_malloc(len + (len == 0));
    memcpy(copy, text, len);
    bool ok = skip_all(weir_slice(copy, len));
    weir_free(copy);
    return ok;
}

START_TEST(grammar_is_rfc_8259)
{
    static const char *const good[] = {"0", "-0", "1.5e+10", "1E-2", "true", "false", "null", "\"\"", "[]", "{}", " [ 1 , 2 ] ",
                                       "{\"a\":{\"b\":[{},[],\"x\"]},\"c\":null}", "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"\xc3\xa9\"",
                                       "123456789012345678901234567890", "1e999"};
    static const char *const bad[] = {"", " ", "01", "-", "+1", ".5", "1.", "1e", "1e+", "tru", "nul", "\"", "\"\t\"", "\"\\x\"",
                                      "\"\\u12\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
                                      "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "[", "]", "[1,]", "[,1]", "[1 2]", "{", "}", "{1:2}",
                                      "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "[1}", "{\"a\":1]", "1 2", "NaN", "'a'",
                                      "\"\\", "-a", "0x1", "\xef\xbb\xbf" "1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(accepts(good[i]), "refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!accepts(bad[i]), "accepted: %s", bad[i]);
    }
}
END_TEST

START_TEST(nesting_is_capped)
{
    char text[2 * WEIR_JSON_DEPTH_MAX + 8];
    for (int depth = WEIR_JSON_DEPTH_MAX; depth <= WEIR_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        ck_assert_int_eq(accepts(text), depth == WEIR_JSON_DEPTH_MAX);
    }
    memset(text, '[', WEIR_JSON_DEPTH_MAX);
    memset(text + WEIR_JSON_DEPTH_MAX, ']', WEIR_JSON_DEPTH_MAX);
    struct weir_json json = weir_json(weir_slice(text, 2 * WEIR_JSON_DEPTH_MAX));
    ck_assert(!weir_json_skip(&json, 1));
}
END_TEST

START_TEST(integers_are_exact_or_refused)
{
    static const struct {
        const char *text;
        enum weir_rc rc;
        int64_t value;
    } cases[] = {
        {"0", WEIR_OK, 0}, {"-0", WEIR_OK, 0}, {"9223372036854775807", WEIR_OK, INT64_MAX}, {"-9223372036854775808", WEIR_OK, INT64_MIN},
        {"9223372036854775808", WEIR_LIMIT, 0}, {"-9223372036854775809", WEIR_LIMIT, 0}, {"18446744073709551616", WEIR_LIMIT, 0},
        {"12.0", WEIR_OK, 12}, {"1.2e1", WEIR_OK, 12}, {"12.5", WEIR_INVALID, 0}, {"1e18", WEIR_OK, 1000000000000000000},
        {"1e19", WEIR_LIMIT, 0}, {"1200e-2", WEIR_OK, 12}, {"1e-1", WEIR_INVALID, 0}, {"1e999999999999", WEIR_LIMIT, 0},
        {"0e999999999999", WEIR_OK, 0}, {"1.00000000000000000000000", WEIR_OK, 1}, {"1.00000000000000000000001", WEIR_INVALID, 0},
        {"12345678", WEIR_OK, 12345678}, {"1234567812345678", WEIR_OK, 1234567812345678},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_json json = weir_json(weir_slice_str(cases[i].text));
        struct weir_json_number number;
        int64_t value = 0;
        int64_t plain = 0;
        bool is_plain = weir_json_plain_integer(&json, &plain);
        ck_assert(json.at == (is_plain ? json.end : (const uint8_t *)cases[i].text));
        ck_assert(is_plain ? cases[i].rc == WEIR_OK && plain == cases[i].value : strpbrk(cases[i].text, ".e") || strlen(cases[i].text) > 18);
        json = weir_json(weir_slice_str(cases[i].text));
        ck_assert(weir_json_number(&json, &number));
        ck_assert_ptr_eq(json.at, json.end);
        ck_assert_msg(weir_json_number_i64(&number, &value) == cases[i].rc, "%s", cases[i].text);
        ck_assert_msg(value == cases[i].value, "%s gave %lld", cases[i].text, (long long)value);
    }
}
END_TEST

START_TEST(doubles_agree_with_strtod)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 7);
    for (int i = 0; i < 50000; i++) {
        char text[80];
        int digits = 1 + (int)weir_rand_below(&rand, 22);
        int power = (int)weir_rand_below(&rand, 60) - 30;
        int used = 0;
        for (int d = 0; d < digits; d++) {
            text[used++] = (char)('0' + (d == 0 && digits > 1 ? 1 + weir_rand_below(&rand, 9) : weir_rand_below(&rand, 10)));
            if (d == 0 && digits > 1 && (power & 1) != 0) {
                text[used++] = '.';
            }
        }
        (void)snprintf(text + used, 8, (power & 2) != 0 ? "e%d" : "", power);
        struct weir_json json = weir_json(weir_slice_str(text));
        struct weir_json_number number;
        double value;
        ck_assert_msg(weir_json_number(&json, &number), "%s", text);
        ck_assert(json.at == json.end);
        ck_assert_int_eq(weir_json_number_f64(&number, &value), WEIR_OK);
        ck_assert_msg(value == strtod(text, NULL), "%s gave %.17g", text, value);
    }
}
END_TEST

START_TEST(decimals_round_and_overflow)
{
    struct weir_json json = weir_json(weir_slice_str("12.345"));
    struct weir_json_number number;
    __int128 value = 0;
    ck_assert(weir_json_number(&json, &number));
    ck_assert_int_eq(weir_json_number_decimal(&number, 10, 3, &value), WEIR_OK);
    ck_assert(value == 12345);
    ck_assert_int_eq(weir_json_number_decimal(&number, 10, 2, &value), WEIR_OK);
    ck_assert(value == 1235);
    ck_assert_int_eq(weir_json_number_decimal(&number, 38, 30, &value), WEIR_OK);
    ck_assert_int_eq(weir_json_number_decimal(&number, 4, 3, &value), WEIR_LIMIT);
}
END_TEST

/* --- random documents against jansson ---------------------------------------------------------------------------------- */

static void random_text(struct weir_rand *rand, struct weir_buf *out)
{
    static const char *const pieces[] = {"a", "speed", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\u00e9", "\\u20AC", "\\ud83d\\ude00",
                                         "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "0123456789abcdef", " ", "\x7f"};
    weir_buf_put_u8(out, '"');
    for (uint64_t n = weir_rand_below(rand, 8); n > 0; n--) {
        weir_buf_put_str(out, pieces[weir_rand_below(rand, sizeof(pieces) / sizeof(pieces[0]))]);
    }
    weir_buf_put_u8(out, '"');
}

static void random_value(struct weir_rand *rand, struct weir_buf *out, int depth)
{
    switch (weir_rand_below(rand, depth >= 5 ? 4 : 6)) {
    case 0: random_text(rand, out); break;
    case 1: weir_buf_put_fmt(out, "%d", (int)weir_rand_below(rand, 2000) - 1000); break;
    case 2: weir_buf_put_fmt(out, "%.17g", weir_rand_double(rand) * 1e6); break;
    case 3: weir_buf_put_str(out, weir_rand_below(rand, 2) != 0 ? "true" : "null"); break;
    case 4:
        weir_buf_put_str(out, "[ ");
        for (uint64_t n = weir_rand_below(rand, 4), i = 0; i < n; i++) {
            weir_buf_put_str(out, i > 0 ? " ," : "");
            random_value(rand, out, depth + 1);
        }
        weir_buf_put_u8(out, ']');
        break;
    default:
        weir_buf_put_str(out, "{");
        for (uint64_t n = weir_rand_below(rand, 4), i = 0; i < n; i++) {
            weir_buf_put_fmt(out, "%s\"k%llu\":", i > 0 ? ",\n" : "", (unsigned long long)i);
            random_value(rand, out, depth + 1);
        }
        weir_buf_put_u8(out, '}');
        break;
    }
}

/* What jansson says; documents whose numbers it cannot hold are not its to judge, so those agree with `ours`. */
static bool jansson_accepts(struct weir_slice text, bool ours)
{
    json_error_t error;
    json_t *doc = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    bool ok = doc != NULL;
    json_decref(doc);
    return !ok && json_error_code(&error) == json_error_numeric_overflow ? ours : ok;
}

START_TEST(documents_are_judged_as_by_jansson)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 42);
    uint32_t refused = 0;
    for (int i = 0; i < 20000; i++) {
        struct weir_buf text = {0};
        random_value(&rand, &text, 0);
        if (i % 2 == 1) {
            for (uint64_t n = 1 + weir_rand_below(&rand, 2); n > 0; n--) {
                text.data[weir_rand_below(&rand, text.len)] = (uint8_t)"\"\\{}[],:0e.u\xff t1-"[weir_rand_below(&rand, 17)];
            }
        }
        uint8_t *copy = weir_malloc(text.len);
        memcpy(copy, text.data, text.len);
        bool ok = skip_all(weir_slice(copy, text.len));
        refused += !ok;
        ck_assert_msg(ok == jansson_accepts(weir_slice(copy, text.len), ok), "%s: %.*s", ok ? "accepted" : "refused",
                      WEIR_SLICE_ARG(weir_buf_slice(&text)));
        ck_assert(ok || i % 2 == 1);
        weir_free(copy);
        weir_buf_fini(&text);
    }
    ck_assert_uint_gt(refused, 2000);
}
END_TEST

START_TEST(strings_unescape_as_by_jansson_and_write_back)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    for (int i = 0; i < 5000; i++) {
        struct weir_buf text = {0};
        random_text(&rand, &text);
        json_t *doc = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL);
        struct weir_json json = weir_json(weir_buf_slice(&text));
        struct weir_json_string string;
        ck_assert(weir_json_string(&json, &string));
        uint8_t *plain = weir_malloc(string.text_len + 1);
        weir_json_unescape(&string, plain);
        ck_assert_uint_eq(string.text_len, json_string_length(doc));
        ck_assert_mem_eq(plain, json_string_value(doc), string.text_len);

        uint8_t *written = weir_malloc(WEIR_JSON_STRING_BYTES_MAX(string.text_len));
        size_t written_len = (size_t)(weir_json_write_string(weir_slice(plain, string.text_len), written) - written);
        json_t *again = json_loadb((const char *)written, written_len, JSON_DECODE_ANY, NULL);
        ck_assert(json_equal(doc, again));
        json_decref(doc);
        json_decref(again);
        weir_free(written);
        weir_free(plain);
        weir_buf_fini(&text);
    }
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    static const char text[] = "{\"k\\u00e9y\":[1,-2.5e3,\"caf\xc3\xa9 \\ud83d\\ude00\",true,false,null,{\"x\":{}}]}";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        uint8_t *copy = weir_malloc(len + 1);
        memcpy(copy, text, len);
        ck_assert_msg(!skip_all(weir_slice(copy, len)), "accepted %zu bytes", len);
        weir_free(copy);
    }
    ck_assert(accepts(text));
}
END_TEST

START_TEST(written_text_is_always_json)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 9);
    for (int i = 0; i < 5000; i++) {
        uint8_t bytes[40];
        size_t len = weir_rand_below(&rand, sizeof(bytes));
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (uint8_t)weir_rand_u64(&rand);
        }
        uint8_t *out = weir_malloc(WEIR_JSON_STRING_BYTES_MAX(len));
        size_t out_len = (size_t)(weir_json_write_string(weir_slice(bytes, len), out) - out);
        ck_assert(skip_all(weir_slice(out, out_len)));
        weir_free(out);
    }
    uint8_t out[32];
    size_t len = (size_t)(weir_json_write_string(weir_slice("\x01\x1f\b\"", 4), out) - out);
    ck_assert(weir_slice_eq_str(weir_slice(out, len), "\"\\u0001\\u001F\\b\\\"\""));
}
END_TEST

START_TEST(utf8_is_judged_strictly)
{
    ck_assert(weir_utf8_valid(weir_slice_str("plain text longer than a register \xf4\x8f\xbf\xbf")));
    ck_assert(weir_utf8_valid(weir_slice(NULL, 0)));
    static const char *const bad[] = {"\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xc3", "\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert(!weir_utf8_valid(weir_slice_str(bad[i])));
    }
}
END_TEST

Suite *json_suite(void);
Suite *json_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, grammar_is_rfc_8259);
    tcase_add_test(tc, nesting_is_capped);
    tcase_add_test(tc, integers_are_exact_or_refused);
    tcase_add_test(tc, doubles_agree_with_strtod);
    tcase_add_test(tc, decimals_round_and_overflow);
    tcase_add_test(tc, documents_are_judged_as_by_jansson);
    tcase_add_test(tc, strings_unescape_as_by_jansson_and_write_back);
    tcase_add_test(tc, every_truncation_is_refused);
    tcase_add_test(tc, written_text_is_always_json);
    tcase_add_test(tc, utf8_is_judged_strictly);
    suite_add_tcase(suite, tc);
    return suite;
}
