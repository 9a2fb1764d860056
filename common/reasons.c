#include "strict_tls/strict_tls.h"

static const stls_reason_info table[] = {
#define ROW(sym, num, id, text, x509_err, rank, rfc, who, remedy)                                  \
    {STLS_REASON_##sym, id, text, x509_err, rank, rfc, who, remedy},
    STLS_REASONS(ROW)
#undef ROW
};

const stls_reason_info *stls_reasons(size_t *num)
{
    *num = sizeof(table) / sizeof(table[0]);
    return table;
}

const stls_reason_info *stls_reason_get0(stls_reason reason)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].reason == reason) {
            return &table[i];
        }
    }
    return NULL;
}

const char *stls_reason_id(stls_reason reason)
{
    if (reason == STLS_REASON_NONE) {
        return "none";
    }
    const stls_reason_info *info = stls_reason_get0(reason);
    return info != NULL ? info->id : "internal.error";
}

const char *strict_tls_version(void)
{
    return STLS_VERSION;
}
