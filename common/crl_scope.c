#include "crl_scope.h"

#include <string.h>

int stls_has_directory_name(const GENERAL_NAMES *names, const X509_NAME *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        if (one->type == GEN_DIRNAME && X509_NAME_cmp(one->d.directoryName, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int have_common_name(const GENERAL_NAMES *a, const GENERAL_NAMES *b)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(a); i++) {
        for (int k = 0; k < sk_GENERAL_NAME_num(b); k++) {
            if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(a, i), sk_GENERAL_NAME_value(b, k)) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Names relative to an issuer were completed to whole ones (dpname) beforehand. */
static int same_point(const DIST_POINT_NAME *a, const DIST_POINT_NAME *b)
{
    if (a->type == 1 && b->type == 1) {
        return a->dpname != NULL && b->dpname != NULL && X509_NAME_cmp(a->dpname, b->dpname) == 0;
    }
    if (a->type == 1) {
        return a->dpname != NULL && stls_has_directory_name(b->name.fullname, a->dpname);
    }
    if (b->type == 1) {
        return b->dpname != NULL && stls_has_directory_name(a->name.fullname, b->dpname);
    }
    return have_common_name(a->name.fullname, b->name.fullname);
}

/* RFC 5280 section 6.3.3 (b) (2) (i). */
static int point_fits(const DIST_POINT *point, const X509_NAME *cert_issuer,
                      const ISSUING_DIST_POINT *idp)
{
    if (idp == NULL || idp->distpoint == NULL) {
        return 1;
    }
    if (point != NULL && point->distpoint != NULL) {
        return same_point(point->distpoint, idp->distpoint);
    }
    /* No name in the certificate's point: the CRL issuer's stands for it. */
    if (idp->distpoint->type == 1) {
        return point != NULL && point->CRLissuer != NULL
                   ? stls_has_directory_name(point->CRLissuer, idp->distpoint->dpname)
                   : X509_NAME_cmp(idp->distpoint->dpname, cert_issuer) == 0;
    }
    return point != NULL && point->CRLissuer != NULL
               ? have_common_name(point->CRLissuer, idp->distpoint->name.fullname)
               : stls_has_directory_name(idp->distpoint->name.fullname, cert_issuer);
}

static unsigned int reason_bits(const ASN1_BIT_STRING *reasons)
{
    unsigned int bits = 0;
    if (reasons == NULL) {
        return STLS_ALL_REASONS;
    }
    for (int i = 1; i <= 8; i++) {
        if (ASN1_BIT_STRING_get_bit(reasons, i)) {
            bits |= 1u << i;
        }
    }
    return bits;
}

unsigned int stls_crl_scope(const X509 *cert, const DIST_POINT *point, const stls_crl *crl,
                            const char **why)
{
    const X509_NAME *cert_issuer = X509_get_issuer_name(cert);
    const ISSUING_DIST_POINT *idp = crl->idp;
    /* By its basic constraints alone: one for CRLs may lack the keyCertSign usage. */
    int is_ca = (X509_get_extension_flags((X509 *)cert) & EXFLAG_CA) != 0;

    if (point != NULL && point->CRLissuer != NULL) {
        /* (b) (1): an indirect CRL, and by the issuer that is named. */
        if (!stls_has_directory_name(point->CRLissuer, crl->issuer) || idp == NULL
            || idp->indirectCRL <= 0) {
            *why = "the CRL is not by the named CRL issuer";
            return 0;
        }
    } else if (X509_NAME_cmp(crl->issuer, cert_issuer) != 0) {
        *why = "the CRL is by another issuer";
        return 0;
    }
    if (crl->is_unusable) {
        *why = "the CRL has an unknown critical extension";
        return 0;
    }
    if (idp != NULL && idp->onlyattr > 0) {
        *why = "the CRL is about attribute certificates only";
        return 0;
    }
    if (idp != NULL && ((idp->onlyuser > 0 && is_ca) || (idp->onlyCA > 0 && !is_ca))) {
        *why = is_ca ? "the CRL is about end-entity certificates only"
                     : "the CRL is about CA certificates only";
        return 0;
    }
    if (!point_fits(point, cert_issuer, idp)) {
        *why = "the CRL is for another distribution point";
        return 0;
    }
    return reason_bits(point != NULL ? point->reasons : NULL)
           & reason_bits(idp != NULL ? idp->onlysomereasons : NULL);
}

int stls_crl_same_scope(const stls_crl *a, const stls_crl *b)
{
    unsigned char *a_der = NULL, *b_der = NULL;
    if (X509_NAME_cmp(a->issuer, b->issuer) != 0) {
        return 0;
    }
    if (a->idp == NULL || b->idp == NULL) {
        return a->idp == b->idp;
    }
    int a_len = i2d_ISSUING_DIST_POINT(a->idp, &a_der);
    int b_len = i2d_ISSUING_DIST_POINT(b->idp, &b_der);
    int same = a_len > 0 && a_len == b_len && memcmp(a_der, b_der, (size_t)a_len) == 0;
    OPENSSL_free(a_der);
    OPENSSL_free(b_der);
    return same;
}
