#include "path_search.h"

#include <openssl/x509v3.h>

#include "cert_stack.h"

#define MAX_STEPS 500 /* certificates that are set on a path, in all */

typedef struct {
    const stls_path_input *in;
    int (*try)(void *baton, const STACK_OF(X509) *certs);
    void *baton;
    STACK_OF(X509) *certs; /* the path so far */
    int num_steps;
    int out_of_memory;
} search;

static int issued(X509 *issuer, X509 *cert)
{
    return X509_check_issued(issuer, cert) == X509_V_OK;
}

/* Whether this one may stand between others: not twice, and no root that is not an anchor. */
static int may_be_next(const search *s, int index)
{
    X509 *cert = sk_X509_value(s->in->presented, index);
    return stls_cert_index(s->in->presented, cert) == index && stls_cert_index(s->certs, cert) < 0
           && !stls_anchors_contain(s->in->anchors, cert) && X509_self_signed(cert, 0) != 1;
}

static int set(search *s, X509 *cert)
{
    if (sk_X509_push(s->certs, cert) <= 0) {
        s->out_of_memory = 1;
        return 0;
    }
    return 1;
}

/* 1: the search has ended. */
static int climb(search *s)
{
    const STACK_OF(X509) *anchors = s->in->anchors->anchors;
    X509 *top = sk_X509_value(s->certs, sk_X509_num(s->certs) - 1);
    int ended = 0;

    for (int i = 0; !ended && i < sk_X509_num(anchors); i++) {
        if (issued(sk_X509_value(anchors, i), top)) {
            ended = !set(s, sk_X509_value(anchors, i)) || s->try(s->baton, s->certs);
            (void)sk_X509_pop(s->certs);
        }
    }
    for (int i = 1; !ended && i < sk_X509_num(s->in->presented); i++) {
        X509 *cert = sk_X509_value(s->in->presented, i);
        if (!issued(cert, top) || !may_be_next(s, i)) {
            continue;
        }
        if (s->num_steps++ >= MAX_STEPS || !set(s, cert)) {
            return 1;
        }
        ended = climb(s);
        (void)sk_X509_pop(s->certs);
    }
    return ended;
}

int stls_path_search(const stls_path_input *in,
                     int (*try)(void *baton, const STACK_OF(X509) *certs), void *baton)
{
    search s = {.in = in, .try = try, .baton = baton, .certs = sk_X509_new_null()};

    if (s.certs != NULL && set(&s, sk_X509_value(in->presented, 0))) {
        climb(&s);
    } else {
        s.out_of_memory = 1;
    }
    sk_X509_free(s.certs);
    return !s.out_of_memory;
}
