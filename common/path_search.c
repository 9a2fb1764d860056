#include "path_search.h"

#include <openssl/x509v3.h>

#include "cert_stack.h"

#define MAX_STEPS 500 /* certificates that are set on a path, in all */
#define MAX_CERTS 100 /* the upper end of max_chain_len */

typedef struct {
    const stls_path_input *in;
    int (*try)(void *baton, const STACK_OF(X509) *certs);
    void *baton;
    STACK_OF(X509) *certs; /* the path so far */
    /* Whether no anchor issued it, by presented index: there may be hundreds of anchors. */
    char has_no_anchor[MAX_CERTS];
    int num_presented, num_steps;
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

/* The paths that end here; 1: the search has ended. */
static int try_anchors(search *s, int index)
{
    const STACK_OF(X509) *anchors = s->in->anchors->anchors;
    X509 *top = sk_X509_value(s->in->presented, index);
    int ended = 0, num = 0;

    for (int i = 0; !ended && !s->has_no_anchor[index] && i < sk_X509_num(anchors); i++) {
        if (issued(sk_X509_value(anchors, i), top)) {
            num++;
            ended = !set(s, sk_X509_value(anchors, i)) || s->try(s->baton, s->certs);
            (void)sk_X509_pop(s->certs);
        }
    }
    s->has_no_anchor[index] = num == 0;
    return ended;
}

/* From the presented certificate of this index, which is on the path already; likewise. */
static int climb(search *s, int index)
{
    X509 *top = sk_X509_value(s->in->presented, index);
    int ended = try_anchors(s, index);

    for (int i = 1; !ended && i < s->num_presented; i++) {
        X509 *cert = sk_X509_value(s->in->presented, i);
        if (!issued(cert, top) || !may_be_next(s, i)) {
            continue;
        }
        if (s->num_steps++ >= MAX_STEPS || !set(s, cert)) {
            return 1;
        }
        ended = climb(s, i);
        (void)sk_X509_pop(s->certs);
    }
    return ended;
}

int stls_path_search(const stls_path_input *in,
                     int (*try)(void *baton, const STACK_OF(X509) *certs), void *baton)
{
    search s = {.in = in, .try = try, .baton = baton, .certs = sk_X509_new_null()};

    s.num_presented = sk_X509_num(in->presented);
    if (s.num_presented > MAX_CERTS) {
        s.num_presented = MAX_CERTS;
    }

    if (s.certs != NULL && set(&s, sk_X509_value(in->presented, 0))) {
        climb(&s, 0);
    } else {
        s.out_of_memory = 1;
    }
    sk_X509_free(s.certs);
    return !s.out_of_memory;
}
