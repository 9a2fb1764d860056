#include "support.h"

#include <stdlib.h>

static void log_of(const aid_case *c, const char *addr, char line[2000])
{
    size_t len = stls_result_log_line(aid_judge(c), addr, line, 2000);
    assert_int_equal(len, strlen(line));
}

static void rejection(void **state)
{
    static const char begin[] = "strict-tls: reject peer=other.example.com "
                                "addr=203.0.113.5:443 reason=name.mismatch cert=0 "
                                "subject=\"CN=api.example.com\" detail=\"";
    aid_case c = {.name = "other.example.com"};
    char line[2000];

    (void)state;
    log_of(&c, "203.0.113.5:443", line);
    assert_memory_equal(line, begin, strlen(begin));
    assert_non_null(strstr(line, "\" remedy=\""));
    assert_int_equal(line[strlen(line) - 1], '"');
}

static void what_is_absent_is_left_out(void **state)
{
    static const struct {
        aid_case c;
        const char *line;
    } rows[] = {
        {{.policy = "revocation=off"}, "strict-tls: accept peer=api.example.com reason=none"},
        {{.policy = "revocation=off name=off", .name = ""},
         "strict-tls: accept peer=- reason=none"},
    };
    char line[2000];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        log_of(&rows[i].c, NULL, line);
        assert_string_equal(line, rows[i].line);
    }
}

/* Of a client the subject is all that it is known by. */
static void client(void **state)
{
    static const char begin[] = "strict-tls: reject peer=\"CN=api.example.com\" "
                                "addr=203.0.113.5:50000 reason=chain.purpose cert=0 "
                                "subject=\"CN=api.example.com\" detail=\"";
    aid_case c = {.role = STLS_ROLE_CLIENT, .policy = "revocation=off"};
    char line[2000];

    (void)state;
    log_of(&c, "203.0.113.5:50000", line);
    assert_memory_equal(line, begin, strlen(begin));
}

static void report_mode(void **state)
{
    aid_case c = {.policy = "mode=report", .name = "other.example.com"};
    char line[2000];
    (void)state;
    log_of(&c, NULL, line);
    assert_memory_equal(line, "strict-tls: would_reject peer=other.example.com reason=name.m", 60);
}

/* Whatever a peer puts into its names, it stays inside its quotes, on one printable line. */
static void hostile_names(void **state)
{
    static const char *const subjects[] = {
        "CN=a\" reason=none verdict=\"accept",
        "CN=a\\",
        "CN=a\\\"",
        "CN=line\nstrict-tls: accept peer=api.example.com reason=none",
        "CN=\r\x1b[2Jgone",
        "CN=\x7f\x01\x02",
        "CN=\xc3\xbc\xe2\x82\xac",
        "CN=%s%n%x",
    };
    char line[2000];

    (void)state;
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.subject = subjects[i];
        aid_case c = {.policy = "revocation=off",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                      .name = "other.example.com"};
        log_of(&c, "a\" reason=none\nb", line);
        size_t num_quotes = 0;
        for (const char *p = line; *p != '\0'; p++) {
            assert_true(*p >= 0x20 && *p < 0x7f);
            if (*p == '\\') {
                p++; /* whatever is escaped does not count */
            } else {
                num_quotes += *p == '"';
            }
        }
        assert_int_equal(num_quotes, 6); /* subject, detail, remedy */
    }
}

static void cut_to_the_buffer(void **state)
{
    aid_case c = {.name = "other.example.com"};
    stls_result *result = aid_judge(&c);
    char whole[2000];
    size_t whole_len = stls_result_log_line(result, "a", whole, sizeof(whole));

    (void)state;
    for (size_t size = 0; size <= whole_len + 1; size++) {
        char *buf = malloc(size + 1); /* exact, so that writing beyond is noticed */
        buf[size] = 'x';
        size_t len = stls_result_log_line(result, "a", buf, size);
        assert_int_equal(len, size == 0 ? 0 : size - 1);
        if (size > 0) {
            assert_int_equal(buf[len], '\0');
            assert_memory_equal(buf, whole, len);
        }
        assert_int_equal(buf[size], 'x');
        free(buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rejection),     cmocka_unit_test(what_is_absent_is_left_out),
        cmocka_unit_test(client),        cmocka_unit_test(report_mode),
        cmocka_unit_test(hostile_names), cmocka_unit_test(cut_to_the_buffer),
    };
    return cmocka_run_group_tests_name("log_line", tests, NULL, aid_end);
}
