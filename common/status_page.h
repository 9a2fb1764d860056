/* The status page's document and its renderings. */
#ifndef STLS_STATUS_PAGE_INTERNAL_H
#define STLS_STATUS_PAGE_INTERNAL_H

#include <jansson.h>

#include "strict_tls/status_page.h"
#include "text_buffer.h"

/* "" and 0 where there is none. */
const char *stls_json_text(const json_t *object, const char *key);
int64_t stls_json_int(const json_t *object, const char *key);
int stls_json_is(const json_t *object, const char *key, const char *text);

void stls_status_html(const json_t *document, stls_text *out);
void stls_status_prometheus(const json_t *document, stls_text *out);

/* "<div class="...">label value</div>", nothing where there is no value. */
void stls_html_line(stls_text *out, const char *class, const char *label, const char *value);

/* A report's chain, leaf first, with a gap where a certificate is missing. */
void stls_chain_html(const json_t *report, stls_text *out);

typedef struct {
    const char *metric, *type, *help;
} stls_figure_info;
extern const stls_figure_info stls_figure_infos[STLS_NUM_FIGURES];

#endif
