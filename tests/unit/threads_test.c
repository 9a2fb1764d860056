/*
 * What threads may share: policies, anchors, CRLs, CRL files, certificates and
 * results; and, one at a time, a verdict cache.  ./build.sh test threads runs
 * this with ThreadSanitizer.
 */
#include "support_crl.h"

#include <pthread.h>
#include <stdlib.h>

#define NUM_THREADS 4
#define NUM_ROUNDS 40

typedef struct {
    stls_policy *policy;
    stls_anchors *anchors;
    X509 *leaf, *inter;
    stls_crl *crl;
    stls_crl_file *file;
    aid_bytes staple;
    stls_verdict_cache *cache;
    pthread_mutex_t mutex; /* of the cache */
    stls_verdict wanted;
    int num_wrong;
} shared;

static stls_check *new_check(shared *s)
{
    stls_check *check = stls_check_new(s->policy, s->anchors, STLS_ROLE_SERVER);
    if (check == NULL) {
        return NULL;
    }
    stls_check_add_cert(check, s->leaf);
    stls_check_add_cert(check, s->inter);
    stls_check_set_name(check, LEAF_NAME, strlen(LEAF_NAME));
    if (s->file != NULL) {
        stls_check_set_crl_file(check, s->file);
    }
    stls_check_add_crl(check, s->crl);
    stls_check_add_staple(check, 0, s->staple.bytes, s->staple.len);
    return check;
}

/* Reads all that a result tells, so that a race with its making is seen. */
static int read_result(const stls_result *result)
{
    char line[2000];
    size_t len, num;
    int sum = stls_result_verdict(result) + (int)stls_result_reason(result);
    sum += (int)stls_result_log_line(result, "203.0.113.5:443", line, sizeof(line));
    sum += stls_result_get0_report(result, &len)[0];
    return sum + (stls_result_get0_questions(result, &num) != NULL);
}

static int judge_once(shared *s, unsigned char round)
{
    unsigned char key[STLS_ID_LEN] = {0};
    stls_check *check = new_check(s);
    stls_verdict verdict = stls_check_start(check, NOW_S);
    stls_result *result = stls_check_get1_result(check);

    stls_check_free(check);
    if (result == NULL || verdict == STLS_PENDING) {
        stls_result_free(result);
        return verdict == s->wanted;
    }
    key[0] = round % 8;
    pthread_mutex_lock(&s->mutex);
    stls_result *known = stls_verdict_cache_get0(s->cache, key, NOW_S);
    if (known != NULL) {
        stls_result_up_ref(known);
    } else {
        stls_verdict_cache_put(s->cache, key, result, NOW_S);
    }
    pthread_mutex_unlock(&s->mutex);
    int ok = verdict == s->wanted && read_result(result) != 0;
    if (known != NULL) { /* another thread may have made it */
        ok &= stls_result_verdict(known) == s->wanted && read_result(known) != 0;
    }
    stls_result_free(known);
    stls_result_free(result);
    return ok;
}

static void *judge_often(void *baton)
{
    shared *s = baton;
    int num_wrong = 0;
    for (int i = 0; i < NUM_ROUNDS; i++) {
        num_wrong += !judge_once(s, (unsigned char)i);
        unsigned char key[STLS_ID_LEN];
        STACK_OF(X509) *certs = sk_X509_new_null();
        num_wrong += certs == NULL || !sk_X509_push(certs, s->leaf)
                     || stls_verdict_key(key, s->policy, s->anchors, STLS_ROLE_SERVER, LEAF_NAME,
                                         strlen(LEAF_NAME), certs)
                            != STLS_OK
                     || stls_verdict_key_crl_file(key, key, s->file) != STLS_OK;
        sk_X509_free(certs);
        stls_policy_free(stls_policy_up_ref(s->policy));
        stls_anchors_free(stls_anchors_up_ref(s->anchors));
        stls_crl_free(stls_crl_up_ref(s->crl));
    }
    pthread_mutex_lock(&s->mutex);
    s->num_wrong += num_wrong;
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void free_crl(void *crl)
{
    stls_crl_free(crl);
}

static stls_crl *crl_of(const aid_crl *spec)
{
    aid_bytes der = aid_make_crl(spec);
    stls_crl *crl = stls_crl_new(NULL, der.bytes, der.len, NULL);
    AID_NEED(crl != NULL);
    aid_keep(free_crl, crl);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    return crl;
}

static void judge_in_threads(stls_verdict wanted, X509 *revoked)
{
    const aid_pki *pki = aid_usual_pki();
    const aid_crl by_inter = {.revoked = {revoked}};
    const aid_crl by_root = {.issuer = pki->root, .issuer_key = 0};
    aid_bytes parts[] = {aid_crl_pem(aid_make_crl(&by_inter)), aid_crl_pem(aid_make_crl(&by_root))};
    pthread_t threads[NUM_THREADS];
    shared s = {
        .policy = aid_policy("crl_file=given", NULL),
        .anchors = aid_usual_anchors(),
        .leaf = pki->leaf,
        .inter = pki->inter,
        .crl = crl_of(&by_inter),
        .file = aid_crl_file(aid_join(parts, 2), 4096, NULL),
        .staple = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD),
        .cache = stls_verdict_cache_new(4, NULL),
        .wanted = wanted,
    };
    AID_NEED(s.cache != NULL && s.file != NULL);
    assert_int_equal(pthread_mutex_init(&s.mutex, NULL), 0);
    for (int i = 0; i < NUM_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, judge_often, &s), 0);
    }
    for (int i = 0; i < NUM_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(s.num_wrong, 0);
    stls_verdict_cache_free(s.cache);
    pthread_mutex_destroy(&s.mutex);
}

static void accepted_by_all(void **state)
{
    (void)state;
    judge_in_threads(STLS_ACCEPT, NULL);
}

static void refused_by_all(void **state)
{
    (void)state;
    judge_in_threads(STLS_REJECT, aid_usual_pki()->leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_by_all),
        cmocka_unit_test(refused_by_all),
    };
    return cmocka_run_group_tests(tests, NULL, aid_end);
}
