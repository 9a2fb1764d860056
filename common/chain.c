#include "chain.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "cert_stack.h"
#include "x509_text.h"

static X509 *top_of(const stls_path *path)
{
    return sk_X509_value(path->certs, sk_X509_num(path->certs) - 1);
}

static int is_ca(X509 *cert)
{
    return X509_check_ca(cert) > 0;
}

/* The same name and key as the anchor: its own root, or a cross-certificate for it. */
static int stands_for(X509 *cert, X509 *anchor)
{
    return X509_NAME_cmp(X509_get_subject_name(cert), X509_get_subject_name(anchor)) == 0
           && EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(anchor)) == 1;
}

static stls_place place_of(const stls_path *path, const stls_order *order, int index)
{
    /* Only the first copy is on the path: presented_index names that one. */
    for (int p = 0; p < sk_X509_num(path->certs); p++) {
        if (path->presented_index[p] == index) {
            return STLS_ON_PATH;
        }
    }
    return stls_order_has(order, index) ? STLS_BEHIND_GAP : STLS_EXTRA;
}

static void place_all(const stls_policy *policy, const STACK_OF(X509) *presented,
                      const stls_path *path, const stls_order *order, stls_place *places,
                      stls_findings *findings)
{
    for (int i = 0; i < sk_X509_num(presented); i++) {
        places[i] = place_of(path, order, i);
        X509 *cert = sk_X509_value(presented, i);
        if (places[i] == STLS_EXTRA && path->is_complete && stands_for(cert, top_of(path))) {
            int is_duplicate = stls_cert_index(presented, cert) < i;
            places[i] = is_duplicate ? STLS_EXTRA : STLS_REDUNDANT;
        }
        if (places[i] == STLS_EXTRA) {
            int denied = path->is_complete && policy->num[STLS_KEY_CHAIN_EXTRA] == STLS_EXTRA_DENY;
            stls_findings_add(findings, STLS_REASON_CHAIN_EXTRA, denied, i, cert, NULL,
                              "presented certificate %d is a duplicate or on no path", i);
        }
    }
}

/* RFC 8446 section 4.4.2 lets a peer misorder; strict platforms and this default do not. */
static void judge_order(const stls_policy *policy, const STACK_OF(X509) *presented,
                        const stls_order *order, stls_findings *findings)
{
    char text[400] = ""; /* a hundred numbers */
    size_t used = 0;
    int last = STLS_NO_CERT, misplaced = STLS_NO_CERT;

    for (size_t i = 0; i < order->num; i++) {
        int index = order->links[i].index;
        if (index == STLS_NO_CERT) {
            continue;
        }
        if (index < last && misplaced == STLS_NO_CERT) {
            misplaced = index;
        }
        last = index;
        if (used < sizeof(text) - 16) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d", used ? "," : "",
                                     index);
        }
    }
    if (misplaced != STLS_NO_CERT) {
        stls_findings_add(findings, STLS_REASON_CHAIN_MISORDERED,
                          policy->num[STLS_KEY_CHAIN_ORDER] == STLS_ORDER_STRICT, misplaced,
                          sk_X509_value(presented, misplaced), NULL,
                          "the right order of the presented certificates is %s", text);
    }
}

static void judge_root(const stls_policy *policy, const stls_path *path,
                       const STACK_OF(X509) *presented, const stls_place *places,
                       stls_findings *findings)
{
    int index = path->presented_index[sk_X509_num(path->certs) - 1];

    /* Another self-signed certificate for the anchor's name and key is the root, too. */
    for (int i = 0; index == STLS_NO_CERT && i < sk_X509_num(presented); i++) {
        if (places[i] == STLS_REDUNDANT && X509_self_signed(sk_X509_value(presented, i), 0) == 1) {
            index = i;
        }
    }
    if (index == STLS_NO_CERT && policy->num[STLS_KEY_CHAIN_ROOT] == STLS_ROOT_REQUIRE) {
        char root[STLS_NAME_TEXT_LEN];
        stls_name_text(X509_get_subject_name(top_of(path)), root);
        stls_findings_add(findings, STLS_REASON_CHAIN_ROOT_MISSING, 1, STLS_NO_CERT, NULL, NULL,
                          "root '%s' was not sent", root);
    }
    if (index != STLS_NO_CERT && policy->num[STLS_KEY_CHAIN_ROOT] == STLS_ROOT_FORBID) {
        stls_findings_add(findings, STLS_REASON_CHAIN_ROOT_PRESENTED, 1, index,
                          sk_X509_value(presented, index), NULL,
                          "presented certificate %d is the root", index);
    }
}

/*
 * The path broke off at its top, whose issuer is neither presented nor an
 * anchor.  Whether an intermediate or trust is missing cannot be told for
 * sure; say what the evidence favours.
 */
static int looks_incomplete(const stls_anchors *anchors, const STACK_OF(X509) *presented,
                            const stls_path *path)
{
    X509 *top = top_of(path);

    if (X509_self_signed(top, 0) == 1) {
        return 0;
    }
    return (sk_X509_num(path->certs) == 1 && !is_ca(top)) /* roots seldom issue leaves directly */
           || stls_issuer_in(anchors->not_anchors, top)
                  != NULL /* this host owns what was not sent */
           || stls_order_goes_on(presented, path);
}

/* An extension that does not decode keeps OpenSSL from taking the certificate for an issuer. */
static int judge_decoding(const STACK_OF(X509) *presented, const stls_path *path,
                          const stls_place *places, stls_findings *findings)
{
    int num_errors = 0;
    for (int i = 0; i < sk_X509_num(presented); i++) {
        X509 *cert = sk_X509_value(presented, i);
        if (X509_get_extension_flags(cert) & EXFLAG_INVALID) {
            int is_error = !path->is_complete || places[i] == STLS_ON_PATH;
            stls_findings_add(findings, STLS_REASON_CHAIN_MALFORMED, is_error, i, cert, NULL,
                              "an extension of presented certificate %d cannot be decoded", i);
            num_errors += is_error;
        }
    }
    return num_errors;
}

/* Name of the certificate's issuer, and " (key id AB:CD)" where it is known: it goes to the end. */
static void issuer_text(X509 *cert, char name[STLS_NAME_TEXT_LEN], char key_id[120])
{
    char hex[100];

    stls_name_text(X509_get_issuer_name(cert), name);
    stls_hex_text(X509_get0_authority_key_id(cert), hex);
    snprintf(key_id, 120, "%s%s%s", hex[0] ? " (key id " : "", hex, hex[0] ? ")" : "");
}

/* "; published at http://...", as far as the certificate says so. */
static void published_text(X509 *cert, char text[STLS_URL_LEN + 20])
{
    char url[STLS_URL_LEN];
    int has_url = stls_aia_url(cert, NID_ad_ca_issuers, 0, url);
    snprintf(text, STLS_URL_LEN + 20, "%s%s", has_url ? "; published at " : "", url);
}

/* The path ends without an anchor, and nothing says that it goes on. */
static void judge_top(const stls_path *path, stls_findings *findings)
{
    X509 *top = top_of(path);
    int index = path->presented_index[sk_X509_num(path->certs) - 1];
    char issuer[STLS_NAME_TEXT_LEN], key_id[120], published[STLS_URL_LEN + 20];
    char remedy[STLS_URL_LEN + 200];

    if (X509_self_signed(top, 0) == 1) {
        if (sk_X509_num(path->certs) == 1) {
            stls_findings_add(findings, STLS_REASON_CHAIN_SELF_SIGNED, 1, index, top, NULL,
                              "the leaf is signed by its own key");
        } else {
            stls_findings_add(findings, STLS_REASON_CHAIN_UNTRUSTED, 1, index, top, NULL,
                              "the presented root is not a trust anchor");
        }
        return;
    }
    issuer_text(top, issuer, key_id);
    published_text(top, published);
    snprintf(remedy, sizeof(remedy),
             "if that is a root you trust, add it to the trusted certificates; "
             "if it is an "
             "intermediate, append it to the served chain%s",
             published);
    stls_findings_add(findings, STLS_REASON_CHAIN_UNTRUSTED, 1, index, top, remedy,
                      "issuer '%s' is neither presented nor a trust anchor%s", issuer, key_id);
}

/* Every gap is a finding of its own, told about the presented certificate below it. */
static void judge_gaps(const stls_anchors *anchors, const STACK_OF(X509) *presented,
                       const stls_order *order, stls_findings *findings)
{
    char issuer[STLS_NAME_TEXT_LEN], key_id[120], published[STLS_URL_LEN + 20];
    char remedy[STLS_URL_LEN + 200], missing[STLS_NAME_TEXT_LEN];
    int index = STLS_NO_CERT, num_gaps = 0;

    for (size_t i = 0; i < order->num; i++) {
        X509 *below = order->links[i].below;
        if (order->links[i].index != STLS_NO_CERT) {
            index = order->links[i].index;
            continue;
        }
        int is_first = num_gaps++ == 0;
        int is_known = stls_issuer_in(anchors->not_anchors, below) != NULL;
        int may_be_a_root = i + 1 == order->num && !is_known;
        issuer_text(below, issuer, key_id);
        published_text(below, published);
        snprintf(remedy, sizeof(remedy), "append it to the served chain%s%s", published,
                 may_be_a_root ? "; if it is a root of your own, add it to the "
                                 "trusted certificates"
                               : "");
        if (stls_cert_index(presented, below) >= 0) {
            missing[0] = '\0';
        } else {
            stls_name_text(X509_get_subject_name(below), missing);
        }
        stls_findings_add(findings, STLS_REASON_CHAIN_INCOMPLETE, 1, index,
                          sk_X509_value(presented, index), remedy,
                          "issuer '%s'%s%s%s was not sent%s%s%s", issuer,
                          missing[0] ? " of the missing '" : "", missing, missing[0] ? "'" : "",
                          is_first ? "" : " either", key_id,
                          is_known ? "; that it lies in the trusted certificates here does not "
                                     "help anybody else"
                                   : "");
    }
}

void stls_chain_judge(const stls_policy *policy, const stls_anchors *anchors,
                      const STACK_OF(X509) *presented, const stls_path *path, stls_order *order,
                      stls_place *places, stls_findings *findings)
{
    ERR_set_mark();
    int is_incomplete = !path->is_complete && looks_incomplete(anchors, presented, path);
    stls_order_add_path(order, path);
    if (is_incomplete) {
        stls_order_bridge_gaps(order, anchors, presented, path);
    }
    place_all(policy, presented, path, order, places, findings);
    judge_order(policy, presented, order, findings);
    int num_malformed = judge_decoding(presented, path, places, findings);
    if (path->is_complete) {
        judge_root(policy, path, presented, places, findings);
    } else if (num_malformed == 0 && is_incomplete) {
        judge_gaps(anchors, presented, order, findings);
    } else if (num_malformed == 0) {
        judge_top(path, findings);
    }
    ERR_pop_to_mark();
}

int stls_chain_is_pinned(const stls_path *path)
{
    return path->is_valid && sk_X509_num(path->certs) == 1;
}
