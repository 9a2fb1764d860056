#include "support.h"

#include "strict_tls/own_chain.h"
#include "strict_tls/status_page.h"

#include <ctype.h>
#include <stdlib.h>

#include <jansson.h>

static stls_status_page *new_page(void)
{
    stls_status_page *page = stls_status_page_new("nginx/1.22.1", NOW_S);
    assert_non_null(page);
    return page;
}

static stls_report_table *new_table(void)
{
    size_t len = stls_report_table_len(8);
    void *mem = malloc(len);
    aid_keep(free, mem);
    return stls_report_table_init(mem, len, 8);
}

static const char *render(stls_status_page *page, stls_status_format format)
{
    size_t len;
    const char *text = stls_status_page_render(page, format, &len);
    assert_non_null(text);
    assert_int_equal(strlen(text), len);
    return text;
}

static size_t count_of(const char *text, const char *word)
{
    size_t num = 0;
    for (const char *p = text; (p = strstr(p, word)) != NULL; p += strlen(word)) {
        num++;
    }
    return num;
}

static stls_result *own_result(STACK_OF(X509) *certs)
{
    static const char *const names[] = {LEAF_NAME};
    const stls_own_chain own = {.role = STLS_ROLE_SERVER,
                                .certs = certs,
                                .key = aid_key(2),
                                .file = "/etc/ssl/own.pem",
                                .names = names,
                                .num_names = 1};
    stls_result *result = stls_own_chain_judge(aid_policy("", NULL), aid_usual_anchors(), &own,
                                               NOW_S);
    AID_NEED(result);
    aid_keep((void (*)(void *))stls_result_free, result);
    return result;
}

static void add_own(stls_status_page *page, const stls_result *result)
{
    static const char *const names[] = {LEAF_NAME, "*.example.com"};
    stls_status_own own = {.role = STLS_ROLE_SERVER,
                           .file = "/etc/ssl/own.pem",
                           .where = "api.example.com:443",
                           .names = names,
                           .num_names = 2,
                           .checked_at_s = NOW_S - 120};
    if (result != NULL) {
        own.report = stls_result_get0_report(result, &own.report_len);
    }
    assert_int_equal(stls_status_page_add_own(page, &own), STLS_OK);
}

static stls_status_page *usual_page(void)
{
    const aid_pki *pki = aid_usual_pki();
    stls_status_page *page = new_page();
    stls_report_table *table = new_table();
    aid_case good = {0}, gap = {.certs = aid_stack(pki->leaf, NULL)};

    add_own(page, aid_judge(&good));
    add_own(page, own_result(aid_stack(pki->leaf, NULL)));
    add_own(page, NULL);
    add_own(page, own_result(aid_stack(pki->leaf, pki->inter, NULL))); /* nobody was asked */
    stls_report_table_note(table, STLS_OUTBOUND, LEAF_NAME, "203.0.113.5:443", aid_judge(&good),
                           NOW_S - 60);
    stls_report_table_note(table, STLS_INBOUND, "CN=client", "203.0.113.9", aid_judge(&gap),
                           NOW_S - 90);
    stls_report_table_note(table, STLS_OWN, "/etc/ssl/own.pem", "", aid_judge(&good), NOW_S - 90);
    assert_int_equal(stls_status_page_add_table(page, table), STLS_OK);
    assert_int_equal(stls_status_page_add_figure(page, STLS_FIGURE_FETCHES, 17), STLS_OK);
    assert_int_equal(stls_status_page_add_figure(page, STLS_NUM_FIGURES, 17), STLS_ERR_ARGUMENT);
    return page;
}

static const char *text_at(const json_t *list, size_t index, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(list, index), key));
    return text != NULL ? text : "";
}

static void json(void **state)
{
    stls_status_page *page = usual_page();
    json_t *document = json_loads(render(page, STLS_STATUS_JSON), JSON_REJECT_DUPLICATES, NULL);
    const json_t *own = json_object_get(document, "own"),
                 *peers = json_object_get(document, "peers");
    (void)state;

    assert_non_null(document);
    assert_string_equal(json_string_value(json_object_get(document, "strict_tls_version")),
                        STLS_VERSION);
    assert_int_equal(json_array_size(own), 4);
    assert_string_equal(text_at(own, 0, "state"), "good");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(own, 0), "days_left")), 90);
    assert_string_equal(text_at(own, 1, "state"), "bad");
    assert_string_equal(text_at(own, 1, "reason"), "chain.incomplete");
    assert_string_equal(text_at(own, 2, "state"), "unknown");
    assert_string_equal(text_at(own, 3, "state"), "unknown");
    assert_string_equal(text_at(own, 3, "reason"), "none");
    assert_int_equal(json_array_size(peers), 2);                 /* own chains are no peers */
    assert_string_equal(text_at(peers, 0, "verdict"), "reject"); /* trouble first */
    assert_string_equal(text_at(peers, 0, "direction"), "inbound");
    assert_string_equal(text_at(peers, 1, "name"), LEAF_NAME);
    assert_true(json_is_object(json_object_get(json_array_get(peers, 1), "report")));
    assert_string_equal(text_at(json_object_get(document, "reasons"), 0, "reason"),
                        "chain.incomplete");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(document, "figures"), "fetches_total")),
        17);
    json_decref(document);
    stls_status_page_free(page);
}

static void html(void **state)
{
    stls_status_page *page = usual_page();
    const char *text = render(page, STLS_STATUS_HTML);
    (void)state;

    assert_memory_equal(text, "<!DOCTYPE html>", 15);
    assert_int_equal(count_of(text, "<li class=\"missing"), 2); /* of an own chain and of a peer */
    assert_int_equal(count_of(text, "<li class=\"root last\">"), 3);
    assert_int_equal(count_of(text, "There is no readable report"), 1);
    assert_non_null(strstr(text, ">90 days left<"));
    assert_non_null(strstr(text, "*.example.com"));
    /* Nothing is loaded from anywhere and nothing runs. */
    static const char *const banned[] = {"<script", "src=", "href=", "@import", "url(", "onload"};
    for (size_t i = 0; i < sizeof(banned) / sizeof(banned[0]); i++) {
        assert_null(strstr(text, banned[i]));
    }
    stls_status_page_free(page);
}

/* Each sample's metric was introduced once, and each line is one sample. */
static void assert_prometheus(const char *text)
{
    char metric[128] = "";
    for (const char *line = text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(metric, sizeof(metric), "%.*s", (int)strcspn(line + 7, " "), line + 7);
            char help[160];
            snprintf(help, sizeof(help), "# HELP %s ", metric);
            assert_int_equal(count_of(text, help), 1);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_memory_equal(line + 7, metric, strlen(metric));
        } else {
            assert_memory_equal(line, metric, strlen(metric));
            const char *p = line + strlen(metric);
            if (*p == '{') {
                for (p++; *p != '}'; p += *p == ',') {
                    while (islower((unsigned char)*p) || *p == '_') {
                        p++;
                    }
                    assert_memory_equal(p, "=\"", 2);
                    for (p += 2; *p != '"'; p++) {
                        assert_true(*p >= 0x20 && *p < 0x7f);
                        p += *p == '\\';
                    }
                    p++;
                }
                p++;
            }
            assert_int_equal(*p, ' ');
            char *rest;
            strtoll(p + 1, &rest, 10);
            assert_ptr_equal(rest, end);
        }
        line = end + 1;
    }
}

static void prometheus(void **state)
{
    static const char *const samples[] = {
        "strict_tls_own_days_left{role=\"server\",file=\"/etc/ssl/own.pem\","
        "where=\"api.example.com:443\"} 90\n",
        "strict_tls_fetches_total 17\n",
        "strict_tls_verdicts_total{direction=\"outbound\",verdict=\"accept\"} 1\n",
        "strict_tls_verdicts_total{direction=\"inbound\",verdict=\"reject\"} 1\n",
        "strict_tls_reasons_total{direction=\"inbound\",reason=\"chain.incomplete\"} 1\n",
        "strict_tls_peer_accepted{direction=\"outbound\",name=\"api.example.com\","
        "address=\"203.0.113.5:443\",verdict=\"accept\",reason=\"none\"} 1\n",
    };
    stls_status_page *page = usual_page();
    const char *text = render(page, STLS_STATUS_PROMETHEUS);
    (void)state;
    assert_prometheus(text);
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        if (strstr(text, samples[i]) == NULL) {
            fail_msg("%s in\n%s", samples[i], text);
        }
    }
    stls_status_page_free(page);
}

/* Whatever a peer calls itself, and whatever lies in shared memory, it stays text. */
static void hostile_values(void **state)
{
    static const char *const subjects[] = {
        "CN=<script>alert(1)</script>", "CN=\"><img src=x onerror=alert(1)>",
        "CN='onmouseover='x",           "CN=&lt;script&gt;",
        "CN=a\"} 1\nstrict_tls_info 2", "CN=\\",
        "CN=\xc3\xbc\x01\x7f",
    };
    static const char *const reports[] = {"",
                                          "{",
                                          "[]",
                                          "null",
                                          "{\"certs\":7,\"findings\":\"x\"}",
                                          "{\"certs\":[1,{\"subject\":{}}],\"findings\":[3]}",
                                          "{\"certs\":[{\"subject\":\"<b>\",\"issuer\":\"<b>\","
                                          "\"not_after_s\":9223372036854775807}]}"};
    (void)state;
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.subject = subjects[i];
        aid_case c = {.certs = aid_stack(aid_make_cert(&spec), NULL)};
        stls_status_page *page = new_page();
        stls_report_table *table = new_table();
        stls_report_table_note(table, STLS_INBOUND, subjects[i], subjects[i], aid_judge(&c), NOW_S);
        assert_int_equal(stls_status_page_add_table(page, table), STLS_OK);
        const char *text = render(page, STLS_STATUS_HTML);
        assert_null(strstr(text, "<script"));
        assert_null(strstr(text, "<img"));
        assert_null(strstr(text, "'onmouse"));
        assert_prometheus(render(page, STLS_STATUS_PROMETHEUS));
        json_t *document = json_loads(render(page, STLS_STATUS_JSON), 0, NULL);
        assert_non_null(document);
        json_decref(document);
        stls_status_page_free(page);
    }
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
        stls_status_page *page = new_page();
        stls_status_own own = {
            .file = "\xff<b>", .report = reports[i], .report_len = strlen(reports[i])};
        assert_int_equal(stls_status_page_add_own(page, &own), STLS_OK);
        assert_null(strstr(render(page, STLS_STATUS_HTML), "<b>"));
        assert_prometheus(render(page, STLS_STATUS_PROMETHEUS));
        stls_status_page_free(page);
    }
}

static void empty_page(void **state)
{
    stls_status_page *page = new_page();
    (void)state;
    assert_non_null(strstr(render(page, STLS_STATUS_HTML), "None is configured"));
    assert_prometheus(render(page, STLS_STATUS_PROMETHEUS));
    stls_status_page_free(page);
    stls_status_page_free(NULL);
}

static void format_is_chosen(void **state)
{
    static const struct {
        const char *path, *accept;
        stls_status_format format;
    } rows[] = {
        {NULL, NULL, STLS_STATUS_HTML},
        {"/status", "*/*", STLS_STATUS_HTML},
        {"/status", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
         STLS_STATUS_HTML},
        {"/status", "application/json", STLS_STATUS_JSON},
        {"/status", "Application/JSON ; charset=utf-8", STLS_STATUS_JSON},
        {"/status", "text/html;q=0.5, application/json", STLS_STATUS_JSON},
        {"/status", "text/html;q=0.5, application/json;q=0.4", STLS_STATUS_HTML},
        {"/status", "text/html;q=0, application/json;q=0.001", STLS_STATUS_JSON},
        {"/status", "application/json;q=0", STLS_STATUS_HTML},
        {"/status",
         "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
         STLS_STATUS_PROMETHEUS},
        {"/status", "text/plain", STLS_STATUS_PROMETHEUS},
        {"/status.json", "text/html", STLS_STATUS_JSON},
        {"/status.prom", "text/html", STLS_STATUS_PROMETHEUS},
        {"/status/metrics", "text/html", STLS_STATUS_PROMETHEUS},
        {"/status.html", "application/json", STLS_STATUS_HTML},
        {"/metrics.html", NULL, STLS_STATUS_HTML},
        {"/status", ",,;q=,;;q,q=1", STLS_STATUS_HTML},
        {"/status", "application/json;q=9999999999999", STLS_STATUS_JSON},
        {"/status", "application/jsonx", STLS_STATUS_HTML},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_status_format format = stls_status_page_format(
            rows[i].path, rows[i].path != NULL ? strlen(rows[i].path) : 0, rows[i].accept,
            rows[i].accept != NULL ? strlen(rows[i].accept) : 0);
        if (format != rows[i].format) {
            fail_msg("%s, Accept: %s: %d", rows[i].path, rows[i].accept, format);
        }
    }
    assert_string_equal(stls_status_page_content_type(STLS_STATUS_JSON), "application/json");
}

/* What proxies add, and nothing that a browser or curl sends by itself. */
static void forwarding_headers(void **state)
{
    static const struct {
        const char *name;
        int forwards;
    } rows[] = {
        {"Forwarded", 1},
        {"X-Forwarded-For", 1},
        {"X-Forwarded-Host", 1},
        {"X-Forwarded-Proto", 1},
        {"X-Real-IP", 1},
        {"Via", 1},
        {"Host", 0},
        {"Accept", 0},
        {"User-Agent", 0},
        {"Connection", 0},
        {"X-Forwarded", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const *name = stls_status_page_forwarding_headers();
        while (*name != NULL && strcmp(*name, rows[i].name) != 0) {
            name++;
        }
        if ((*name != NULL) != rows[i].forwards) {
            fail_msg("%s: %d", rows[i].name, *name != NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(html),
        cmocka_unit_test(prometheus),
        cmocka_unit_test(hostile_values),
        cmocka_unit_test(empty_page),
        cmocka_unit_test(format_is_chosen),
        cmocka_unit_test(forwarding_headers),
    };
    return cmocka_run_group_tests_name("status_page", tests, NULL, aid_end);
}
