#include "order.h"

#include <string.h>

#include <openssl/x509v3.h>

#include "cert_stack.h"

X509 *stls_issuer_in(const STACK_OF(X509) *certs, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *issuer = sk_X509_value(certs, i);
        if (X509_check_issued(issuer, cert) == X509_V_OK) {
            return issuer;
        }
    }
    return NULL;
}

static int add(stls_order *order, int index, X509 *below)
{
    if (order->num == order->cap) {
        return 0;
    }
    order->links[order->num++] = (stls_link){index, below};
    return 1;
}

int stls_order_has(const stls_order *order, int index)
{
    for (size_t i = 0; i < order->num; i++) {
        if (order->links[i].index == index) {
            return 1;
        }
    }
    return 0;
}

void stls_order_add_path(stls_order *order, const stls_path *path)
{
    for (int i = 0; i < sk_X509_num(path->certs); i++) {
        if (path->presented_index[i] != STLS_NO_CERT) {
            add(order, path->presented_index[i], NULL);
        }
    }
}

/* A CA certificate, and the first of its copies. */
static int is_candidate(const STACK_OF(X509) *presented, int index)
{
    X509 *cert = sk_X509_value(presented, index);
    return X509_check_ca(cert) > 0 && stls_cert_index(presented, cert) == index;
}

int stls_order_goes_on(const STACK_OF(X509) *presented, const stls_path *path)
{
    for (int i = 0; i < sk_X509_num(presented); i++) {
        if (is_candidate(presented, i)
            && stls_cert_index(path->certs, sk_X509_value(presented, i)) < 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- behind a gap ----------------------------------------------------------------- */

#define MAX_CERTS 100 /* the upper end of max_chain_len */

/* Where the issuers that were presented lead to. */
typedef enum { NOWHERE, TO_A_GAP, TO_A_ROOT, TO_AN_ANCHOR } destination;

/* Everything by presented index, and looked at once: a peer chooses how much there is of it. */
typedef struct {
    stls_order *order;
    const stls_anchors *anchors;
    const STACK_OF(X509) *presented;
    int num;
    int up[MAX_CERTS];          /* its presented issuer, or STLS_NO_CERT */
    destination top[MAX_CERTS]; /* of those without one */
    char is_lowest[MAX_CERTS];  /* a CA certificate that issued no other presented
                                   one */
    char is_placed[MAX_CERTS];
} walk;

static destination leads_to(const stls_anchors *anchors, X509 *cert)
{
    if (stls_anchors_contain(anchors, cert) || stls_issuer_in(anchors->anchors, cert) != NULL) {
        return TO_AN_ANCHOR;
    }
    return X509_self_signed(cert, 0) == 1 ? TO_A_ROOT : TO_A_GAP;
}

static void look_around(walk *w)
{
    for (int i = 0; i < w->num; i++) {
        w->is_lowest[i] = (char)is_candidate(w->presented, i);
        w->is_placed[i] = (char)stls_order_has(w->order, i);
        w->up[i] = STLS_NO_CERT;
    }
    char is_ca[MAX_CERTS];
    memcpy(is_ca, w->is_lowest, sizeof(is_ca));
    for (int i = 0; i < w->num; i++) {
        X509 *cert = sk_X509_value(w->presented, i);
        if (!is_ca[i]) {
            continue;
        }
        for (int k = 0; k < w->num && w->up[i] == STLS_NO_CERT; k++) {
            if (is_ca[k] && k != i
                && X509_check_issued(sk_X509_value(w->presented, k), cert) == X509_V_OK) {
                w->up[i] = k;
                w->is_lowest[k] = 0;
            }
        }
        if (w->up[i] == STLS_NO_CERT) {
            w->top[i] = leads_to(w->anchors, cert);
        }
    }
}

/* The last one of the fragment that begins here; STLS_NO_CERT: it ends at one
 * that has its place. */
static int top_of(const walk *w, int index)
{
    for (int steps = 0; steps < w->num && !w->is_placed[index]; steps++) {
        if (w->up[index] == STLS_NO_CERT) {
            return index;
        }
        index = w->up[index];
    }
    return STLS_NO_CERT;
}

static destination destination_of(const walk *w, int index)
{
    int top = top_of(w, index);
    return top == STLS_NO_CERT ? NOWHERE : w->top[top];
}

/* The fragment to lay next: of those that end at a gap the first, else the best that ends. */
static int next_fragment(const walk *w)
{
    int best = STLS_NO_CERT;
    destination best_to = NOWHERE;

    for (int i = 0; i < w->num && best_to != TO_A_GAP; i++) {
        destination to = w->is_lowest[i] ? destination_of(w, i) : NOWHERE;
        if (to == TO_A_GAP || to > best_to) {
            best = i;
            best_to = to;
        }
    }
    return best;
}

/* The fragment that goes on above this certificate, which was not presented. */
static int fragment_above(const walk *w, X509 *cert)
{
    for (int i = 0; i < w->num; i++) {
        if (w->is_lowest[i] && destination_of(w, i) != NOWHERE
            && X509_check_issued(sk_X509_value(w->presented, i), cert) == X509_V_OK) {
            return i;
        }
    }
    return STLS_NO_CERT;
}

/* Lays it; the certificate whose issuer is missing then, or NULL. */
static X509 *lay(walk *w, int index)
{
    int top = index;
    while (index != STLS_NO_CERT && add(w->order, index, NULL)) {
        w->is_placed[index] = 1;
        top = index;
        index = w->up[index];
    }
    return w->top[top] == TO_A_GAP ? sk_X509_value(w->presented, top) : NULL;
}

void stls_order_bridge_gaps(stls_order *order, const stls_anchors *anchors,
                            const STACK_OF(X509) *presented, const stls_path *path)
{
    walk w = {
        .order = order, .anchors = anchors, .presented = presented, .num = sk_X509_num(presented)};
    X509 *cert = sk_X509_value(path->certs, sk_X509_num(path->certs) - 1);

    if (w.num > MAX_CERTS) {
        w.num = MAX_CERTS;
    }
    look_around(&w);
    while (cert != NULL && add(order, STLS_NO_CERT, cert)) {
        X509 *known = stls_issuer_in(anchors->not_anchors, cert);
        int next = known != NULL ? fragment_above(&w, known) : next_fragment(&w);
        if (next != STLS_NO_CERT) {
            cert = lay(&w, next);
        } else {
            cert = known != NULL && leads_to(anchors, known) == TO_A_GAP ? known : NULL;
        }
    }
}
