/* Values out of certificates for people: bounded and printable ASCII, since peers choose them. */
#include <string.h>
#include <time.h>

#include <openssl/x509v3.h>

#include "doctor.h"

void doctor_plain(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            *text = '?';
        }
    }
}

void doctor_name_text(const X509_NAME *name, char text[DOCTOR_TEXT_LEN])
{
    text[0] = '\0';
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && name != NULL
        && X509_NAME_print_ex(bio, name, 0,
                              XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_UTF8_CONVERT)
               >= 0) {
        char *data;
        long len = BIO_get_mem_data(bio, &data);
        int is_cut = len >= DOCTOR_TEXT_LEN;
        if (is_cut) {
            len = DOCTOR_TEXT_LEN - 4;
        }
        memcpy(text, data, (size_t)len);
        strcpy(text + len, is_cut ? "..." : "");
    }
    BIO_free(bio);
    doctor_plain(text);
}

void doctor_key_id_text(const ASN1_OCTET_STRING *id, char text[DOCTOR_TEXT_LEN])
{
    text[0] = '\0';
    int len = id != NULL ? ASN1_STRING_length(id) : 0;
    for (int i = 0; i < len && i < 32; i++) {
        sprintf(text + strlen(text), "%s%02X", i ? ":" : "", ASN1_STRING_get0_data(id)[i]);
    }
}

void doctor_issuer_url(const X509 *cert, char text[DOCTOR_TEXT_LEN])
{
    text[0] = '\0';
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access) && text[0] == '\0'; i++) {
        const ACCESS_DESCRIPTION *entry = sk_ACCESS_DESCRIPTION_value(access, i);
        if (OBJ_obj2nid(entry->method) == NID_ad_ca_issuers && entry->location->type == GEN_URI) {
            const ASN1_STRING *url = entry->location->d.uniformResourceIdentifier;
            if (ASN1_STRING_length(url) < DOCTOR_TEXT_LEN) {
                snprintf(text, DOCTOR_TEXT_LEN, "%.*s", ASN1_STRING_length(url),
                         (const char *)ASN1_STRING_get0_data(url));
            }
        }
    }
    AUTHORITY_INFO_ACCESS_free(access);
    doctor_plain(text);
}

int64_t doctor_time_s(const ASN1_TIME *time)
{
    struct tm parts;
    /* Days since the epoch by OpenSSL: no time zone comes into it. */
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0, seconds = 0;
    int ok = epoch != NULL && ASN1_TIME_to_tm(time, &parts)
             && ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    return ok ? (int64_t)days * 86400 + seconds : 0;
}

void doctor_date(int64_t time_s, char text[32])
{
    time_t when = (time_t)time_s;
    struct tm parts;
    if (time_s <= 0 || gmtime_r(&when, &parts) == NULL
        || strftime(text, 32, "%Y-%m-%d %H:%M", &parts) == 0) {
        strcpy(text, "?");
    }
}

const char *doctor_str(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t doctor_int(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}
