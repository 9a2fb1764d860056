/* How is a verdict told? */
#include "plugin.h"

#include <stdio.h>
#include <string.h>

#define NO_RECURSION 0x081600 /* from this libcurl on callbacks must not call it */

void (*stls_curl_on_result)(CURL *curl, stls_result *result);

/* What fits into an error buffer: the detail is cut before the remedy is. */
static void describe(const stls_result *result, char *text, size_t len)
{
    char line[4096];

    (void)stls_result_log_line(result, NULL, line, sizeof(line));
    const char *reason = stls_reason_id(stls_result_reason(result));
    const char *detail = strstr(line, " detail=\"");
    const char *remedy = strstr(line, " remedy=\"");
    size_t detail_len = 0, remedy_len = remedy != NULL ? strlen(remedy) : 0;
    size_t fixed = strlen("strict-tls: reject reason=") + strlen(reason);

    if (detail != NULL) {
        detail_len = remedy != NULL && remedy > detail ? (size_t)(remedy - detail) : strlen(detail);
    }
    size_t room = len - 1 > fixed + remedy_len ? len - 1 - fixed - remedy_len : 0;
    if (detail_len > room) {
        detail_len = room > 24 ? room : 0;
    }
    int cut = detail != NULL && detail_len > 0 && detail[detail_len - 1] != '"';
    snprintf(text, len, "strict-tls: reject reason=%s%.*s%s%s", reason,
             (int)(cut ? detail_len - 4 : detail_len), detail != NULL ? detail : "",
             cut ? "...\"" : "", remedy != NULL ? remedy : "");
}

/*
 * libcurl keeps the first message of a transfer, and writes its own behind our
 * back otherwise.  Performing a handle that is being performed is a harmless
 * way to make it write one, which is then replaced.  Where that is forbidden
 * the text waits for stls_curl_tell_late().
 */
static void tell_now(CURL *curl)
{
    char *buffer = NULL;
    size_t len = 0;

    if (curl_version_info(CURLVERSION_NOW)->version_num >= NO_RECURSION) {
        return;
    }
    stls_result *result = stls_curl_get1_untold(curl, &buffer, &len);
    if (result == NULL) {
        return;
    }
    stls_curl_depth++;
    (void)curl_easy_perform(curl);
    stls_curl_depth--;
    if (buffer[0] != '\0') {
        describe(result, buffer, len);
    }
    stls_result_free(result);
}

void stls_curl_tell(CURL *curl, stls_result *result)
{
    stls_curl_note_result(curl, result);
    if (result == NULL) {
        return;
    }
    tell_now(curl);
    if (stls_curl_on_result != NULL) {
        stls_curl_on_result(curl, result);
    }
}

void stls_curl_tell_late(CURL *curl)
{
    char *buffer = NULL;
    size_t len = 0;
    stls_result *result = stls_curl_get1_untold(curl, &buffer, &len);

    if (result != NULL) {
        describe(result, buffer, len);
        stls_result_free(result);
    }
}
