/* Text that grows, and its escapes. */
#include "support.h"

#include "text_buffer.h"

static void put_together(void **state)
{
    stls_text text = {0};
    (void)state;
    stls_text_put(&text, "a");
    stls_text_printf(&text, "%d-%s", 7, "b");
    assert_string_equal(text.text, "a7-b");
    assert_int_equal(text.len, 4);
    stls_text_clear(&text);
    assert_null(text.text);
    stls_text_clear(&text);
}

static void grows(void **state)
{
    stls_text text = {0};
    (void)state;
    for (int i = 0; i < 5000; i++) {
        stls_text_put(&text, "0123456789");
    }
    assert_int_equal(text.len, 50000);
    assert_int_equal(strlen(text.text), 50000);
    for (size_t i = 0; i < text.len; i++) {
        assert_int_equal(text.text[i], '0' + (int)(i % 10));
    }
    assert_false(text.out_of_memory);
    stls_text_clear(&text);
}

static void long_printf_is_cut(void **state)
{
    char long_text[2000];
    stls_text text = {0};
    (void)state;
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    stls_text_printf(&text, "%s", long_text);
    assert_int_equal(text.len, 511);
    stls_text_clear(&text);
}

/* Nothing that a peer chose ends an element or an attribute. */
static void html(void **state)
{
    stls_text text = {0};
    (void)state;
    stls_text_html(&text, "<a href=\"x\" id='y'>&\n\x01\xc3\xa4");
    assert_string_equal(text.text, "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;????");
    stls_text_clear(&text);
}

/* Nor a label of Prometheus' text format. */
static void label(void **state)
{
    stls_text text = {0};
    (void)state;
    stls_text_label(&text, "a\"b\\c\nd\te\xff");
    assert_string_equal(text.text, "a\\\"b\\\\c\\nd?e?");
    stls_text_clear(&text);
}

static void out_of_memory_stays(void **state)
{
    stls_text text = {.out_of_memory = 1};
    (void)state;
    stls_text_put(&text, "a");
    assert_null(text.text);
    assert_int_equal(text.len, 0);
    stls_text_clear(&text);
    assert_false(text.out_of_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_together),
        cmocka_unit_test(grows),
        cmocka_unit_test(long_printf_is_cut),
        cmocka_unit_test(html),
        cmocka_unit_test(label),
        cmocka_unit_test(out_of_memory_stays),
    };
    return cmocka_run_group_tests_name("text_buffer", tests, NULL, aid_end);
}
