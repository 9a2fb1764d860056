/* The status page: whatever lies in the memory of reports, and whatever names are given, is text.
 */
#include "fuzz.h"

#include <string.h>

#include <jansson.h>

#include "strict_tls/status_page.h"

static size_t count_of(const char *text, const char *word)
{
    size_t num = 0;
    for (const char *p = text; (p = strstr(p, word)) != NULL; p += strlen(word)) {
        num++;
    }
    return num;
}

/* Everything of the page that is not the input's. */
static void html_must_hold(stls_status_page *page)
{
    size_t len;
    const char *text = stls_status_page_render(page, STLS_STATUS_HTML, &len);

    MUST(text != NULL && strlen(text) == len);
    MUST(strstr(text, "<script") == NULL && strstr(text, "<img") == NULL);
    MUST(count_of(text, "<li") == count_of(text, "</li>"));
    MUST(count_of(text, "<div") == count_of(text, "</div>"));
    MUST(count_of(text, "<details") == 1);
    for (size_t i = 0; i < len; i++) {
        MUST(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
    }
}

static void json_must_hold(stls_status_page *page)
{
    size_t len;
    const char *text = stls_status_page_render(page, STLS_STATUS_JSON, &len);
    json_t *document = text != NULL ? json_loadb(text, len, 0, NULL) : NULL;

    MUST(json_array_size(json_object_get(document, "own")) == 1);
    json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *report = (const char *)data;
    char name[256];
    stls_status_page *page = stls_status_page_new("fuzz", NOW_S);
    size_t name_len = len < sizeof(name) ? len : sizeof(name) - 1;

    MUST(page != NULL);
    memcpy(name, data, name_len);
    name[name_len] = '\0';
    const char *names[] = {name};
    const stls_status_own own = {.role = STLS_ROLE_SERVER,
                                 .file = name,
                                 .where = name,
                                 .names = names,
                                 .num_names = 1,
                                 .report = report,
                                 .report_len = len,
                                 .checked_at_s = 1};
    MUST(stls_status_page_add_own(page, &own) == STLS_OK);
    html_must_hold(page);
    json_must_hold(page);
    size_t rendered_len;
    const char *text = stls_status_page_render(page, STLS_STATUS_PROMETHEUS, &rendered_len);
    MUST(text != NULL && strlen(text) == rendered_len);
    (void)stls_status_page_format(report, len, report, len);
    stls_status_page_free(page);
    return 0;
}
