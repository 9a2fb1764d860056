#include "support_crl.h"

#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static aid_bytes keep(const void *bytes, size_t len)
{
    aid_bytes out = {malloc(len + 1), len};
    AID_NEED(out.bytes != NULL);
    memcpy(out.bytes, bytes, len);
    aid_keep(free, out.bytes);
    return out;
}

static void add_entry(X509_CRL *crl, const ASN1_INTEGER *serial, int reason, ASN1_TIME *date)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    AID_NEED(X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)serial)
             && X509_REVOKED_set_revocationDate(entry, date));
    if (reason > 0) {
        ASN1_ENUMERATED *value = ASN1_ENUMERATED_new();
        AID_NEED(ASN1_ENUMERATED_set(value, reason)
                 && X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1);
        ASN1_ENUMERATED_free(value);
    }
    AID_NEED(X509_CRL_add0_revoked(crl, entry));
}

void aid_add_crl_number(X509_CRL *crl, int nid, int64_t value)
{
    ASN1_INTEGER *integer = ASN1_INTEGER_new();
    AID_NEED(integer && ASN1_INTEGER_set_int64(integer, value));
    AID_NEED(X509_CRL_add1_ext_i2d(crl, nid, integer, nid == NID_delta_crl, 0));
    ASN1_INTEGER_free(integer);
}

aid_bytes aid_make_crl(const aid_crl *spec)
{
    X509 *issuer = spec->issuer != NULL ? spec->issuer : aid_usual_pki()->inter;
    size_t key = spec->issuer != NULL ? spec->issuer_key : 1;
    int64_t this_s = spec->this_update_s != 0 ? spec->this_update_s : NOW_S - HOUR_S;
    int64_t next_s = spec->next_update_s != 0 ? spec->next_update_s : NOW_S + DAY_S;
    ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)this_s);
    X509_CRL *crl = X509_CRL_new();
    unsigned char *der = NULL;

    AID_NEED(crl != NULL && X509_CRL_set_version(crl, X509_CRL_VERSION_2)
             && X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer))
             && X509_CRL_set1_lastUpdate(crl, date));
    if (next_s > 0) {
        ASN1_TIME *next = ASN1_TIME_set(NULL, (time_t)next_s);
        AID_NEED(X509_CRL_set1_nextUpdate(crl, next));
        ASN1_TIME_free(next);
    }
    for (size_t i = 0; i < spec->num_others; i++) {
        ASN1_INTEGER *serial = ASN1_INTEGER_new();
        AID_NEED(ASN1_INTEGER_set_int64(serial, INT64_C(0x7000000000000000) + (int64_t)i));
        add_entry(crl, serial, 0, date);
        ASN1_INTEGER_free(serial);
    }
    for (size_t i = 0; i < 4 && spec->revoked[i] != NULL; i++) {
        add_entry(crl, X509_get0_serialNumber(spec->revoked[i]), spec->reason, date);
    }
    if (spec->extension != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, NULL, "1.2.3.4.5",
                                                     (char *)spec->extension);
        AID_NEED(extension != NULL && X509_CRL_add_ext(crl, extension, -1));
        X509_EXTENSION_free(extension);
    }
    if (spec->shape != NULL) {
        spec->shape(crl);
    }
    const EVP_MD *digest = aid_digest(aid_key(key), spec->digest != NULL ? spec->digest : "SHA256");
    AID_NEED(X509_CRL_sign(crl, aid_key(key), digest));
    int len = i2d_X509_CRL(crl, &der);
    AID_NEED(len > 0);
    aid_bytes out = keep(der, (size_t)len);
    OPENSSL_free(der);
    X509_CRL_free(crl);
    ASN1_TIME_free(date);
    return out;
}

static void free_crl(void *crl)
{
    stls_crl_free(crl);
}

stls_crl *aid_index_crl(aid_bytes der)
{
    aid_bytes copy = keep(der.bytes, der.len);
    stls_crl *crl = stls_crl_new(NULL, copy.bytes, copy.len, NULL);
    AID_NEED(crl != NULL);
    aid_keep(free_crl, crl);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    return crl;
}

aid_bytes aid_crl_pem(aid_bytes der)
{
    char *data = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    AID_NEED(PEM_write_bio(bio, "X509 CRL", "", der.bytes, (long)der.len) > 0);
    long len = BIO_get_mem_data(bio, &data);
    aid_bytes out = keep(data, (size_t)len);
    BIO_free(bio);
    return out;
}

aid_bytes aid_join(const aid_bytes *parts, size_t num)
{
    size_t len = 0;
    for (size_t i = 0; i < num; i++) {
        len += parts[i].len;
    }
    unsigned char *bytes = malloc(len + 1);
    AID_NEED(bytes != NULL);
    len = 0;
    for (size_t i = 0; i < num; i++) {
        memcpy(bytes + len, parts[i].bytes, parts[i].len);
        len += parts[i].len;
    }
    aid_bytes out = keep(bytes, len);
    free(bytes);
    return out;
}

static void release(void *file)
{
    stls_crl_file_free(file);
}

stls_crl_file *aid_crl_file(aid_bytes bytes, size_t budget, stls_error *err)
{
    unsigned char *copy = malloc(bytes.len + 1);
    stls_crl_state state;

    AID_NEED(copy != NULL);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl_file *file = stls_crl_file_new(NULL, copy, bytes.len, free);
    AID_NEED(file != NULL);
    aid_keep(release, file);
    do {
        assert_null(stls_crl_file_get0_id(file));
        state = stls_crl_file_step(file, budget, err);
    } while (state == STLS_CRL_MORE);
    assert_int_equal(stls_crl_file_step(file, budget, NULL), state);
    return state == STLS_CRL_DONE ? file : NULL;
}
