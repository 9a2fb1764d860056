/* The core's verdict, and OpenSSL's, about a view of a world. */
#include "world.h"

#include <stdlib.h>

#include "support_crl.h"

void world_view_all(const world *w, world_view *view)
{
    memset(view, 0, sizeof(*view));
    view->now_s = w->now_s;
    view->certs[view->num_certs++] = w->leaf;
    for (int i = 0; i < w->num_certs; i++) {
        if (w->certs[i].is_presented && i != w->leaf) {
            view->certs[view->num_certs++] = i;
        }
    }
    for (int i = 0; i < w->num_statements; i++) {
        view->statements[view->num_statements++] = i;
    }
}

static stls_crl_file *file_of(const world *w, const world_view *view)
{
    aid_bytes parts[WORLD_MAX_STATEMENTS];
    size_t num = 0;
    for (int i = 0; i < view->num_statements; i++) {
        const world_statement *s = &w->statements[view->statements[i]];
        if (s->way == WORLD_FILE) {
            parts[num++] = aid_crl_pem(s->der);
        }
    }
    return num > 0 ? aid_crl_file(aid_join(parts, num), 1 << 20, NULL) : NULL;
}

/* A file must hold a CRL: one about nobody. */
static stls_crl_file *some_file(void)
{
    aid_crl spec = {.issuer = aid_usual_pki()->other_root, .issuer_key = 4};
    return aid_crl_file(aid_crl_pem(aid_make_crl(&spec)), 1 << 20, NULL);
}

static int presented_index(const world_view *view, int cert)
{
    for (int i = 0; i < view->num_certs; i++) {
        if (view->certs[i] == cert) {
            return i;
        }
    }
    return -1;
}

static stls_check *begin(const world *w, const world_view *view)
{
    stls_check *check = stls_check_new(aid_policy(w->policy, NULL), w->anchors, STLS_ROLE_SERVER);
    stls_crl_file *file = file_of(w, view);

    AID_NEED(check != NULL);
    for (int i = 0; i < view->num_certs; i++) {
        stls_check_add_cert(check, w->certs[view->certs[i]].x509);
    }
    stls_check_set_name(check, LEAF_NAME, strlen(LEAF_NAME));
    stls_check_set_crl_file(check, file != NULL ? file : some_file());
    for (int i = 0; i < w->num_certs; i++) {
        if (w->certs[i].is_crl_issuer) {
            stls_check_add_crl_issuer(check, w->certs[i].x509);
        }
    }
    for (int i = 0; i < view->num_statements; i++) {
        const world_statement *s = &w->statements[view->statements[i]];
        if (s->way == WORLD_GIVEN) {
            stls_check_add_crl(check, s->crl);
        } else if (s->way == WORLD_STAPLED && presented_index(view, s->target) >= 0) {
            stls_check_add_staple(check, (size_t)presented_index(view, s->target), s->der.bytes,
                                  s->der.len);
        }
    }
    return check;
}

static const world_stored *find_stored(const world_outcome *out, const stls_fetch *fetch)
{
    for (int i = 0; i < out->num_stored; i++) {
        if (memcmp(out->stored[i].question, fetch->question, STLS_ID_LEN) == 0) {
            return &out->stored[i];
        }
    }
    return NULL;
}

/* The first of the world's statements about this URL, in whatever order they are viewed. */
static aid_bytes served(const world *w, const world_view *view, const stls_fetch *fetch)
{
    int first = -1;
    for (int i = 0; i < view->num_statements; i++) {
        const world_statement *s = &w->statements[view->statements[i]];
        if (s->way == WORLD_SERVED && strncmp(s->url, fetch->url, strlen(s->url)) == 0
            && (first < 0 || view->statements[i] < first)) {
            first = view->statements[i];
        }
    }
    return first >= 0 ? w->statements[first].der : (aid_bytes){NULL, 0};
}

static void answer(const world *w, const world_view *view, world_outcome *out, stls_check *check,
                   const stls_fetch *fetch)
{
    const world_stored *stored = find_stored(out, fetch);
    stls_reply reply = {.outcome = STLS_FETCH_NETWORK, .detail = "nothing is served there"};
    aid_bytes bytes = {NULL, 0};

    if (stored != NULL && fetch->may_use_cache && view->now_s <= stored->answer.use_until_s) {
        reply = (stls_reply){STLS_FETCH_CACHED, stored->bytes.bytes, stored->bytes.len, NULL};
    } else {
        out->num_refetched += stored != NULL && !fetch->may_use_cache
                              && stored->cert_index == fetch->cert_index;
        out->num_fetched++;
        bytes = served(w, view, fetch);
        if (bytes.bytes != NULL) {
            reply = (stls_reply){STLS_FETCH_OK, bytes.bytes, bytes.len, NULL};
        }
    }
    stls_check_feed(check, fetch->id, &reply, view->now_s);
    world_stored *made = &out->stored[out->num_stored];
    if (bytes.bytes != NULL && out->num_stored < 64
        && stls_check_get_answer(check, fetch->id, &made->answer) == STLS_OK
        && made->answer.conclusive && made->answer.use_until_s >= view->now_s) {
        memcpy(made->question, fetch->question, STLS_ID_LEN);
        made->cert_index = fetch->cert_index;
        made->bytes = bytes;
        made->id = fetch->id;
        out->num_stored++;
    }
}

/* An OCSP answer may turn out to be worthless once more is known about its responder. */
static void forget_refused(world_outcome *out, const stls_check *check)
{
    int num = 0;
    for (int i = 0; i < out->num_stored; i++) {
        stls_answer now;
        if (out->stored[i].id == 0
            || (stls_check_get_answer(check, out->stored[i].id, &now) == STLS_OK
                && now.conclusive)) {
            out->stored[num] = out->stored[i];
            out->stored[num++].id = 0;
        }
    }
    out->num_stored = num;
}

void world_check(const world *w, const world_view *view, world_outcome *out)
{
    stls_fetch fetch;
    stls_check *check = begin(w, view);

    out->num_fetched = out->num_refetched = 0;
    stls_check_start(check, view->now_s);
    while (stls_check_next_fetch(check, &fetch)) {
        answer(w, view, out, check, &fetch);
    }
    forget_refused(out, check);
    out->verdict = stls_check_verdict(check);
    stls_result *result = stls_check_get1_result(check);
    AID_NEED(result != NULL);
    out->reason = stls_result_reason(result);
    out->valid_until_s = stls_result_valid_until_s(result);
    stls_result_free(result);
    stls_check_free(check);
}

int world_openssl(const world *w, const world_view *view)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = sk_X509_new_null();

    AID_NEED(store != NULL && ctx != NULL && chain != NULL);
    for (int i = 0; i < w->num_certs; i++) {
        AID_NEED(!w->certs[i].is_anchor || X509_STORE_add_cert(store, w->certs[i].x509));
        /* Those given as CRL issuers are at hand for it, too. */
        AID_NEED(!w->certs[i].is_crl_issuer || sk_X509_push(chain, w->certs[i].x509));
    }
    for (int i = 1; i < view->num_certs; i++) {
        AID_NEED(sk_X509_push(chain, w->certs[view->certs[i]].x509));
    }
    for (int i = 0; i < view->num_statements; i++) {
        const world_statement *s = &w->statements[view->statements[i]];
        const unsigned char *p = s->der.bytes;
        X509_CRL *crl = s->is_ocsp ? NULL : d2i_X509_CRL(NULL, &p, (long)s->der.len);
        AID_NEED(crl == NULL || X509_STORE_add_crl(store, crl));
        X509_CRL_free(crl);
    }
    AID_NEED(X509_STORE_CTX_init(ctx, store, w->certs[view->certs[0]].x509, chain));
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)view->now_s);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_EXTENDED_CRL_SUPPORT
                                           | X509_V_FLAG_USE_DELTAS
                                           | (w->is_leaf_only ? 0 : X509_V_FLAG_CRL_CHECK_ALL));
    int error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    sk_X509_free(chain);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return error;
}
