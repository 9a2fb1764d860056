/*
 * What the core costs: core_bench DIR.  Each folder of DIR is a chain of DER
 * files: cert0 (the leaf), cert1 ..., root, and answer0 ... (OCSP); big.crl is
 * a CRL.  Figures are medians of rounds, beside a bare X509_verify_cert() over
 * the same chain in the same round.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>
#include <valgrind/callgrind.h>

#include "crl.h"

#define ROUNDS 15
#define STEP_LEN (128 * 1024) /* as nginx does */
#define NAME "backend.lab.test"

static int64_t now_s;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static unsigned char *read_file(const char *dir, const char *name, size_t *len)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        return NULL;
    }
    fseek(in, 0, SEEK_END);
    *len = (size_t)ftell(in);
    rewind(in);
    unsigned char *bytes = malloc(*len);
    *len = fread(bytes, 1, *len, in);
    fclose(in);
    return bytes;
}

static X509 *read_cert(const char *dir, const char *name)
{
    size_t len;
    unsigned char *bytes = read_file(dir, name, &len);
    const unsigned char *p = bytes;
    X509 *cert = bytes != NULL ? d2i_X509(NULL, &p, (long)len) : NULL;
    free(bytes);
    return cert;
}

typedef struct {
    STACK_OF(X509) *certs;
    X509_STORE *store;
    stls_policy *policy;
    stls_anchors *anchors;
    unsigned char *answers[8];
    size_t answer_lens[8];
} scene;

static int load(scene *s, const char *dir)
{
    char name[32];
    X509 *cert, *root = read_cert(dir, "root");
    BIO *pem = BIO_new(BIO_s_mem());

    memset(s, 0, sizeof(*s));
    if (root == NULL) {
        return 0;
    }
    s->certs = sk_X509_new_null();
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "cert%d", i);
        if ((cert = read_cert(dir, name)) == NULL) {
            break;
        }
        sk_X509_push(s->certs, cert);
        snprintf(name, sizeof(name), "answer%d", i);
        s->answers[i] = read_file(dir, name, &s->answer_lens[i]);
    }
    s->store = X509_STORE_new();
    X509_STORE_add_cert(s->store, root);
    PEM_write_bio_X509(pem, root);
    s->anchors = stls_anchors_new(NULL);
    stls_anchors_load(s->anchors, pem, NULL);
    stls_anchors_freeze(s->anchors, NULL);
    s->policy = stls_policy_new(NULL);
    stls_policy_freeze(s->policy, NULL);
    BIO_free(pem);
    X509_free(root);
    return 1;
}

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "core_bench: %s\n", what);
        exit(1);
    }
}

static void bare(scene *s)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_CTX_init(ctx, s->store, sk_X509_value(s->certs, 0), s->certs);
    must(X509_verify_cert(ctx) == 1, "the chain does not verify");
    X509_STORE_CTX_free(ctx);
}

/* Everything that a first handshake costs, the network apart; `memo` may be NULL. */
static stls_result *judge(scene *s, stls_memo *memo)
{
    stls_check *check = stls_check_new(s->policy, s->anchors, STLS_ROLE_SERVER);
    stls_fetch fetch;
    stls_check_set_memo(check, memo);
    stls_check_add_certs(check, s->certs);
    stls_check_set_name(check, NAME, sizeof(NAME) - 1);
    stls_verdict verdict = stls_check_start(check, now_s);
    while (verdict == STLS_PENDING && stls_check_next_fetch(check, &fetch) == 1) {
        stls_reply reply = {STLS_FETCH_OK, s->answers[fetch.cert_index],
                            s->answer_lens[fetch.cert_index], NULL};
        verdict = stls_check_feed(check, fetch.id, &reply, now_s);
    }
    must(verdict == STLS_ACCEPT, "the chain is not accepted");
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    return result;
}

static stls_result *cold(scene *s)
{
    return judge(s, NULL);
}

/* The key and the look-up: what a later handshake costs. */
static void warm(scene *s, stls_verdict_cache *cache)
{
    unsigned char key[STLS_ID_LEN];
    must(stls_verdict_key(key, s->policy, s->anchors, STLS_ROLE_SERVER, NAME, sizeof(NAME) - 1,
                          s->certs)
                 == STLS_OK
             && stls_verdict_key_staple(key, key, NULL, 0) == STLS_OK
             && stls_verdict_cache_get0(cache, key, now_s) != NULL,
         "the verdict is not remembered");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), by_value);
    return values[ROUNDS / 2];
}

static void bench_chain(const char *label, scene *s)
{
    double bare_us[ROUNDS], cold_us[ROUNDS], warm_us[ROUNDS];
    unsigned char key[STLS_ID_LEN];
    stls_verdict_cache *cache = stls_verdict_cache_new(16, NULL);
    stls_result *result = cold(s);

    stls_verdict_key(key, s->policy, s->anchors, STLS_ROLE_SERVER, NAME, sizeof(NAME) - 1,
                     s->certs);
    stls_verdict_key_staple(key, key, NULL, 0);
    stls_verdict_cache_put(cache, key, result, now_s);
    stls_result_free(result);
    for (int r = 0; r < ROUNDS; r++) {
        double start = now_us();
        for (int i = 0; i < 50; i++) {
            bare(s);
        }
        bare_us[r] = (now_us() - start) / 50;
        start = now_us();
        for (int i = 0; i < 50; i++) {
            stls_result_free(cold(s));
        }
        cold_us[r] = (now_us() - start) / 50;
        start = now_us();
        for (int i = 0; i < 2000; i++) {
            warm(s, cache);
        }
        warm_us[r] = (now_us() - start) / 2000;
    }
    printf("| %s | %.0f | %.0f | %.1f |\n", label, median(bare_us), median(cold_us),
           median(warm_us));
    stls_verdict_cache_free(cache);
}

static void bench_memory(scene *s)
{
    enum { NUM = 4096 };
    stls_verdict_cache *cache = stls_verdict_cache_new(NUM, NULL);
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < NUM; i++) {
        unsigned char key[STLS_ID_LEN] = {0};
        memcpy(key, &i, sizeof(i));
        stls_result *result = cold(s);
        stls_verdict_cache_put(cache, key, result, now_s);
        stls_result_free(result);
    }
    printf("\nMemory per remembered verdict, report included: %zu bytes.\n",
           (mallinfo2().uordblks - before) / NUM);
    stls_verdict_cache_free(cache);
}

/* Of this thread alone: other programs' turns on the processor are none of a step's. */
static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void bench_look_ups(const stls_crl *crl, const X509 *cert)
{
    enum { NUM = 200000 };
    X509 *probe = X509_dup((X509 *)cert);
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    stls_crl_entry entry;
    int found = 0;

    must(probe != NULL && serial != NULL, "memory");
    double start = cpu_us();
    for (int64_t i = 0; i < NUM; i++) {
        ASN1_INTEGER_set_int64(serial, i * 7919);
        X509_set_serialNumber(probe, serial);
        found += stls_crl_find(crl, probe, &entry);
    }
    double each_us = (cpu_us() - start) / NUM;
    printf("\nA look-up in it: %.2f us, making the certificate's serial included (%d found).\n",
           each_us, found);
    ASN1_INTEGER_free(serial);
    X509_free(probe);
}

static void bench_crl(const char *dir, const X509 *cert)
{
    size_t len;
    unsigned char *der = read_file(dir, "big.crl", &len);
    double worst = 0, start = cpu_us();
    stls_crl_state state;

    must(der != NULL, "no big.crl");
    stls_crl *crl = stls_crl_new(NULL, der, len, free);
    do {
        double step = cpu_us();
        state = stls_crl_step(crl, STEP_LEN);
        step = cpu_us() - step;
        worst = step > worst ? step : worst;
    } while (state == STLS_CRL_MORE);
    must(state == STLS_CRL_DONE, "big.crl cannot be indexed");
    printf("\nA CRL of %.1f MB with %u entries: indexed in %.0f ms of CPU, the longest of its "
           "steps of "
           "%d KiB %.1f ms; %.1f MB held afterwards.\n",
           (double)len / 1e6, stls_crl_num_entries(crl), (cpu_us() - start) / 1e3, STEP_LEN / 1024,
           worst / 1e3, (double)stls_crl_memory_len(crl) / 1e6);
    bench_look_ups(crl, cert);
    stls_crl_free(crl);
}

/*
 * Under callgrind: a dump of what has been executed for each line of the table,
 * named after it.  `other` is another leaf under the same intermediates.
 */
static void count_instructions(const char *label, scene *s, scene *other)
{
    char name[80];
    stls_memo *memo = stls_memo_new(64, NULL);

    must(memo != NULL, "memory");
    /* What OpenSSL keeps in certificates, and fetches once, is there from here on. */
    bare(s);
    stls_result_free(cold(s));
    stls_result_free(judge(other, memo));
    CALLGRIND_ZERO_STATS;
    bare(s);
    snprintf(name, sizeof(name), "%s bare", label);
    CALLGRIND_DUMP_STATS_AT(name);
    stls_result_free(cold(s));
    snprintf(name, sizeof(name), "%s cold", label);
    CALLGRIND_DUMP_STATS_AT(name);
    stls_result_free(judge(s, memo));
    snprintf(name, sizeof(name), "%s known", label);
    CALLGRIND_DUMP_STATS_AT(name);
    stls_memo_free(memo);
}

int main(int argc, char **argv)
{
    static const char *const labels[] = {"p256-2", "p256-3", "p256-4", "rsa-2", "rsa-3", "rsa-4"};
    scene s;

    must(argc == 2 || (argc == 3 && strcmp(argv[2], "instructions") == 0),
         "usage: core_bench DIR [instructions]");
    now_s = (int64_t)time(NULL);
    for (size_t i = 0; argc == 3 && i < sizeof(labels) / sizeof(labels[0]); i++) {
        char dir[1024];
        scene other;
        snprintf(dir, sizeof(dir), "%s/%s", argv[1], labels[i]);
        must(load(&s, dir), labels[i]);
        snprintf(dir, sizeof(dir), "%s/%s-other", argv[1], labels[i]);
        must(load(&other, dir), labels[i]);
        count_instructions(labels[i], &s, &other);
    }
    if (argc == 3) {
        return 0;
    }
    puts("| chain | bare X509_verify_cert us | cold check us | warm check us |\n|---|---|---|---|");
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        char dir[1024];
        snprintf(dir, sizeof(dir), "%s/%s", argv[1], labels[i]);
        must(load(&s, dir), labels[i]);
        bench_chain(labels[i], &s);
    }
    bench_memory(&s);
    printf("Memory per OCSP answer, as hosts cache it: %zu bytes of DER.\n", s.answer_lens[0]);
    bench_crl(argv[1], sk_X509_value(s.certs, 0));
    return 0;
}
