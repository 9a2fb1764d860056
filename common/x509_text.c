#include "x509_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "error.h"

void stls_name_text(const X509_NAME *name, char text[STLS_NAME_TEXT_LEN])
{
    char *data = NULL;
    BIO *bio = BIO_new(BIO_s_mem());

    text[0] = '\0';
    if (bio != NULL && name != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &data);
        int is_cut = len >= STLS_NAME_TEXT_LEN;
        if (is_cut) {
            len = STLS_NAME_TEXT_LEN - 4;
        }
        for (long i = 0; i < len; i++) {
            text[i] = data[i] >= 0x20 && data[i] < 0x7f ? data[i] : '?';
        }
        strcpy(text + len, is_cut ? "..." : "");
    }
    BIO_free(bio);
}

void stls_hex_text(const ASN1_OCTET_STRING *bytes, char text[100])
{
    size_t used = 0;
    int len = bytes != NULL ? ASN1_STRING_length(bytes) : 0;

    text[0] = '\0';
    for (int i = 0; i < len && i < 32; i++) {
        used += (size_t)snprintf(text + used, 100 - used, "%s%02X", i ? ":" : "",
                                 ASN1_STRING_get0_data(bytes)[i]);
    }
}

/* Days since the epoch of a proleptic Gregorian date. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

int stls_time_s(const ASN1_TIME *time, int64_t *time_s)
{
    struct tm tm;

    *time_s = 0;
    /* ASN1_TIME_to_tm() would read the clock for NULL. */
    if (time == NULL || !ASN1_TIME_to_tm(time, &tm)) {
        return 0;
    }
    *time_s = days_from_civil(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday) * 86400
              + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    return 1;
}

void stls_date_text(int64_t time_s, char text[STLS_DATE_LEN])
{
    const int64_t limit_s = INT64_C(253402300799); /* the end of the year 9999 */
    time_s = time_s < 0 ? 0 : time_s > limit_s ? limit_s : time_s;

    /* The inverse of days_from_civil(), from 1970 on. */
    int64_t days = time_s / 86400 + 719468;
    int64_t era = days / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524
                           - day_of_era / 146096)
                          / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    int month = (int)(shifted_month + (shifted_month < 10 ? 3 : -9));
    int year = (int)(year_of_era + era * 400 + (month <= 2));
    int minute = (int)(time_s % 86400 / 60);

    snprintf(text, STLS_DATE_LEN, "%04d-%02d-%02d %02d:%02d UTC", year, month, day, minute / 60,
             minute % 60);
}

/*
 * A URL that every host can ask, or 0.  User information (RFC 3986 section
 * 3.2.1) is taken off: it does not say where to ask.  Whatever else the parser
 * refuses must not become a fetch, which a host could only tell as a failure of
 * the network.
 */
static int copy_http_url(const ASN1_IA5STRING *uri, char url[STLS_URL_LEN])
{
    size_t len = (size_t)ASN1_STRING_length(uri);
    const unsigned char *data = ASN1_STRING_get0_data(uri);
    stls_http_target target;

    if (len >= STLS_URL_LEN || memchr(data, '\0', len) != NULL) {
        return 0;
    }
    memcpy(url, data, len);
    url[len] = '\0';
    if (strncasecmp(url, "http://", 7) != 0) {
        return 0;
    }
    char *authority = url + 7;
    char *end = authority + strcspn(authority, "/?#");
    for (char *at = end; at > authority; at--) {
        if (at[-1] == '@') {
            memmove(authority, at, strlen(at) + 1);
            break;
        }
    }
    return stls_http_parse_url(url, &target, NULL) == STLS_OK;
}

int stls_aia_url(const X509 *cert, int method_nid, size_t index, char url[STLS_URL_LEN])
{
    int found = 0;
    stls_errors_mark();
    AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    for (int i = 0; !found && i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
        const ACCESS_DESCRIPTION *access = sk_ACCESS_DESCRIPTION_value(aia, i);
        if (OBJ_obj2nid(access->method) == method_nid && access->location->type == GEN_URI
            && copy_http_url(access->location->d.uniformResourceIdentifier, url)) {
            found = index-- == 0;
        }
    }
    AUTHORITY_INFO_ACCESS_free(aia);
    stls_errors_pass_on();
    if (!found) {
        url[0] = '\0';
    }
    return found;
}

int stls_point_url(const CRL_DIST_POINTS *points, size_t index, char url[STLS_URL_LEN])
{
    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT_NAME *name = sk_DIST_POINT_value(points, i)->distpoint;
        const GENERAL_NAMES *names = name != NULL && name->type == 0 ? name->name.fullname : NULL;
        for (int k = 0; k < sk_GENERAL_NAME_num(names); k++) {
            const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, k);
            if (one->type == GEN_URI && copy_http_url(one->d.uniformResourceIdentifier, url)
                && index-- == 0) {
                return 1;
            }
        }
    }
    url[0] = '\0';
    return 0;
}

int stls_crl_url(const X509 *cert, size_t index, char url[STLS_URL_LEN])
{
    stls_errors_mark();
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    int found = stls_point_url(points, index, url);
    CRL_DIST_POINTS_free(points);
    stls_errors_pass_on();
    return found;
}

int stls_names_ocsp(const X509 *cert)
{
    if (X509_get_ext_by_NID(cert, NID_info_access, -1) < 0) {
        return 0;
    }
    stls_errors_mark();
    AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    int named = aia == NULL; /* one that does not decode may have named anything */
    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
        named |= OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(aia, i)->method) == NID_ad_OCSP;
    }
    AUTHORITY_INFO_ACCESS_free(aia);
    stls_errors_pass_on();
    return named;
}

int stls_names_crl(const X509 *cert)
{
    return X509_get_ext_by_NID(cert, NID_crl_distribution_points, -1) >= 0;
}
