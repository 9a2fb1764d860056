/*
 * The vectors through the core's public API: vectors_run FOLDER, one line per
 * case of FOLDER/cases.txt: name, TAB, "accept" or the reason's id (behind
 * "would_reject:" in report mode, "warns:" for a chain of our own), TAB, the
 * log line.  vectors_run --reasons prints every id of the catalogue.
 *
 * tests/vectors/generate.py makes the folder; test_vectors.py compares.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "strict_tls/own_chain.h"
#include "strict_tls/strict_tls.h"

#define MAX_REPLIES 400
#define MAX_FILES 40

typedef struct {
    char *url, *outcome, *file;
} reply_line;

typedef struct {
    size_t index;
    char *file;
} staple_line;

typedef struct {
    char *name, *wanted, *policy, *fail, *own, *crl_file;
    long long now_s, alloc;
    int is_client, expires, expires_before;
    char *anchors[MAX_FILES], *certs[MAX_FILES * 4], *crls[MAX_FILES], *crl_issuers[MAX_FILES];
    size_t num_anchors, num_certs, num_crls, num_crl_issuers;
    staple_line staples[MAX_FILES];
    size_t num_staples;
    reply_line replies[MAX_REPLIES];
    size_t num_replies;
} vector;

static const char *folder;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "vectors_run: %s: %s\n", what, which);
    exit(3);
}

static void *need(void *made, const char *what)
{
    if (made == NULL) {
        die("cannot make", what);
    }
    return made;
}

/* ---- files ---------------------------------------------------------------------- */

static unsigned char *read_file(const char *name, size_t *len)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        die("cannot read", path);
    }
    *len = (size_t)ftell(file);
    rewind(file);
    /* Exactly as long as the file, so that a read behind its end is seen by the sanitizer. */
    unsigned char *bytes = need(malloc(*len > 0 ? *len : 1), path);
    if (fread(bytes, 1, *len, file) != *len) {
        die("cannot read", path);
    }
    fclose(file);
    return bytes;
}

static X509 *read_cert(const char *name)
{
    size_t len;
    unsigned char *bytes = read_file(name, &len);
    const unsigned char *p = bytes;
    X509 *cert = need(d2i_X509(NULL, &p, (long)len), name);
    free(bytes);
    return cert;
}

/* ---- memory that runs out ---------------------------------------------------------- */

static long long left = -1; /* allocations that still work; -1: all */

static void *limited_alloc(void *baton, size_t len)
{
    (void)baton;
    if (left == 0) {
        return NULL;
    }
    left -= left > 0;
    return malloc(len);
}

static void limited_free(void *baton, void *ptr)
{
    (void)baton;
    free(ptr);
}

/* ---- one case -------------------------------------------------------------------------- */

static stls_policy *make_policy(const vector *v)
{
    static const stls_allocator allocator = {limited_alloc, limited_free, NULL};
    stls_error err = {""};
    stls_policy *policy = need(stls_policy_new(&allocator), "policy");
    if (stls_policy_set_text(policy, v->policy, &err) != STLS_OK
        || stls_policy_freeze(policy, &err) != STLS_OK) {
        die(v->name, err.text);
    }
    return policy;
}

static stls_anchors *make_anchors(const vector *v)
{
    stls_error err = {""};
    stls_anchors *anchors = need(stls_anchors_new(NULL), "anchors");
    BIO *bio = need(BIO_new(BIO_s_mem()), "BIO");
    for (size_t i = 0; i < v->num_anchors; i++) {
        X509 *cert = read_cert(v->anchors[i]);
        PEM_write_bio_X509(bio, cert);
        X509_free(cert);
    }
    if (stls_anchors_load(anchors, bio, &err) != STLS_OK
        || stls_anchors_freeze(anchors, &err) != STLS_OK) {
        die(v->name, err.text);
    }
    BIO_free(bio);
    return anchors;
}

static void add_everything(stls_check *check, const vector *v)
{
    size_t len;
    unsigned char *bytes;

    for (size_t i = 0; i < v->num_certs; i++) {
        bytes = read_file(v->certs[i], &len);
        stls_check_add_cert_der(check, bytes, len); /* what does not decode is a finding */
        free(bytes);
    }
    if (v->wanted != NULL) {
        stls_check_set_name(check, v->wanted, strlen(v->wanted));
    }
    for (size_t i = 0; i < v->num_staples; i++) {
        bytes = read_file(v->staples[i].file, &len);
        stls_check_add_staple(check, v->staples[i].index, bytes, len);
        free(bytes);
    }
    for (size_t i = 0; i < v->num_crls; i++) {
        bytes = read_file(v->crls[i], &len);
        stls_crl *crl = need(stls_crl_new(NULL, bytes, len, free), "CRL");
        while (stls_crl_step(crl, 64) == STLS_CRL_MORE) {
        }
        stls_check_add_crl(check, crl);
        stls_crl_free(crl);
    }
    for (size_t i = 0; i < v->num_crl_issuers; i++) {
        X509 *cert = read_cert(v->crl_issuers[i]);
        stls_check_add_crl_issuer(check, cert);
        X509_free(cert);
    }
}

/* The policy's crl_file, where the case has one. */
static void add_crl_file(stls_check *check, const vector *v)
{
    size_t len;
    stls_error err = {""};
    stls_crl_state state;

    if (v->crl_file == NULL) {
        return;
    }
    unsigned char *bytes = read_file(v->crl_file, &len);
    stls_crl_file *file = need(stls_crl_file_new(NULL, bytes, len, free), "CRL file");
    do {
        state = stls_crl_file_step(file, 64, &err);
    } while (state == STLS_CRL_MORE);
    if (state != STLS_CRL_DONE || stls_check_set_crl_file(check, file) != STLS_OK) {
        die(v->name, err.text);
    }
    stls_crl_file_free(file);
}

/* The reply for this URL, or for the GET that was made from it. */
static const reply_line *find_reply(const vector *v, const stls_fetch *fetch)
{
    const reply_line *found = NULL;
    for (size_t i = 0; i < v->num_replies; i++) {
        const reply_line *reply = &v->replies[i];
        size_t len = strlen(reply->url);
        int is_cached = strcmp(reply->outcome, "cached") == 0;
        if (strncmp(reply->url, fetch->url, len) != 0
            || (fetch->url[len] != '\0' && fetch->url[len] != '/')
            || (is_cached && !fetch->may_use_cache)) {
            continue;
        }
        if (found == NULL || is_cached) {
            found = reply;
        }
    }
    return found;
}

static stls_fetch_outcome outcome_of(const char *word)
{
    static const struct {
        const char *word;
        stls_fetch_outcome outcome;
    } outcomes[] = {
        {"ok", STLS_FETCH_OK},           {"cached", STLS_FETCH_CACHED},
        {"timeout", STLS_FETCH_TIMEOUT}, {"network", STLS_FETCH_NETWORK},
        {"http", STLS_FETCH_HTTP},       {"too_large", STLS_FETCH_TOO_LARGE},
        {"denied", STLS_FETCH_DENIED},   {"local", STLS_FETCH_LOCAL},
    };
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        if (strcmp(outcomes[i].word, word) == 0) {
            return outcomes[i].outcome;
        }
    }
    die("no such outcome", word);
    return STLS_FETCH_NETWORK;
}

static stls_verdict answer(stls_check *check, const vector *v, const stls_fetch *fetch)
{
    const reply_line *line = find_reply(v, fetch);
    stls_reply reply = {STLS_FETCH_NETWORK, NULL, 0, "no such host"};
    unsigned char *bytes = NULL;

    if (line != NULL) {
        reply.outcome = outcome_of(line->outcome);
        reply.detail = "as the vector says";
        if (reply.outcome == STLS_FETCH_OK || reply.outcome == STLS_FETCH_CACHED) {
            reply.bytes = bytes = read_file(line->file, &reply.bytes_len);
        }
    }
    stls_verdict verdict = stls_check_feed(check, fetch->id, &reply, v->now_s);
    free(bytes);
    return verdict;
}

static stls_reason reason_named(const char *id)
{
    size_t num;
    const stls_reason_info *rows = stls_reasons(&num);
    for (size_t i = 0; i < num; i++) {
        if (strcmp(rows[i].id, id) == 0) {
            return rows[i].reason;
        }
    }
    die("no such reason", id);
    return STLS_REASON_NONE;
}

static void judge(stls_check *check, const vector *v)
{
    stls_fetch fetch;

    if (v->expires_before) {
        stls_check_expire(check, v->now_s);
    }
    if (v->fail != NULL) {
        stls_check_fail(check, reason_named(v->fail), "as the vector says", v->now_s);
    }
    stls_verdict verdict = stls_check_start(check, v->now_s);
    if (v->expires) {
        verdict = stls_check_expire(check, v->now_s);
    }
    while (verdict == STLS_PENDING && stls_check_next_fetch(check, &fetch) == 1) {
        verdict = answer(check, v, &fetch);
    }
}

/* "warns:ID" of the worst that is told of a chain of our own that is good otherwise. */
static void copy_warning(void *baton, stls_severity severity, const char *line)
{
    char *warning = baton;
    const char *reason = strstr(line, "reason=");
    if (severity == STLS_WARNING && warning[0] == '\0' && reason != NULL) {
        sscanf(reason + strlen("reason="), "%60s", warning);
    }
}

/* A check of the presented certificates as a chain of our own, its trust phase done. */
static stls_check *own_check(const vector *v, stls_policy *policy, stls_anchors *anchors)
{
    int is_nothing = strcmp(v->own, "nothing") == 0;
    const char *const names[] = {v->wanted};
    STACK_OF(X509) *certs = need(sk_X509_new_null(), "stack");
    EVP_PKEY *key = NULL;

    for (size_t i = 0; i < v->num_certs; i++) {
        sk_X509_push(certs, read_cert(v->certs[i]));
    }
    if (!is_nothing && strcmp(v->own, "none") != 0) {
        size_t len;
        unsigned char *pem = read_file(v->own, &len);
        BIO *bio = need(BIO_new_mem_buf(pem, (int)len), "BIO");
        key = need(PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL), v->own);
        BIO_free(bio);
        free(pem);
    }
    stls_own_chain own = {
        .role = v->is_client ? STLS_ROLE_CLIENT : STLS_ROLE_SERVER,
        .certs = is_nothing ? NULL : certs,
        .key = key,
        .why_not = key != NULL ? NULL : "as the vector says",
        .file = "own.pem",
        .key_file = "own.key",
        .trust_directive = "trusted",
        .names = names,
        .num_names = v->wanted != NULL,
    };
    stls_check *check = need(stls_own_chain_check(policy, anchors, &own, v->now_s), v->name);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return check;
}

/* Shared by all cases: what any of them has verified must change no verdict of another. */
static stls_memo *memo;

static void run(const vector *v, int with_memo, char *said, size_t said_len)
{
    char warning[64] = "";
    left = -1;
    stls_policy *policy = make_policy(v);
    stls_anchors *anchors = make_anchors(v);
    stls_check *check = v->own != NULL ? own_check(v, policy, anchors)
                                       : need(stls_check_new(policy, anchors,
                                                             v->is_client ? STLS_ROLE_CLIENT
                                                                          : STLS_ROLE_SERVER),
                                              v->name);
    left = v->alloc;
    if (v->own == NULL) {
        add_everything(check, v);
    }
    if (with_memo) {
        stls_check_set_memo(check, memo);
    }
    add_crl_file(check, v);
    judge(check, v);
    left = -1; /* telling what happened is not what is tried here */
    stls_result *result = need(stls_check_get1_result(check), v->name);
    char line[2000];
    stls_result_log_line(result, NULL, line, sizeof(line));
    int accepts = stls_check_verdict(check) == STLS_ACCEPT
                  && stls_result_reason(result) == STLS_REASON_NONE;
    if (v->own != NULL) {
        stls_own_chain_tell(result, "own.pem", STLS_WARNING, copy_warning, warning);
    }
    const char *how = strcmp(stls_result_word(result), "would_reject") == 0 ? "would_reject:"
                      : accepts && warning[0] != '\0'                       ? "warns:"
                                                                            : "";
    snprintf(said, said_len, "%s\t%s%s\t%s\n", v->name, how,
             !accepts             ? stls_reason_id(stls_result_reason(result))
             : warning[0] != '\0' ? warning
                                  : "accept",
             line);
    stls_result_free(result);
    stls_check_free(check);
    stls_anchors_free(anchors);
    stls_policy_free(policy);
}

static void run_both(const vector *v)
{
    char without[3000], first[3000], again[3000];
    run(v, 0, without, sizeof(without));
    run(v, 1, first, sizeof(first));
    run(v, 1, again, sizeof(again));
    if (strcmp(without, first) != 0 || strcmp(without, again) != 0) {
        die("remembered signatures change the verdict", without);
    }
    fputs(without, stdout);
}

/* ---- cases.txt --------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    return need(strdup(text), "memory");
}

static void push(char **list, size_t *num, size_t max, const char *value)
{
    if (*num == max) {
        die("too many", value);
    }
    list[(*num)++] = copy(value);
}

static void read_line(vector *v, const char *key, char *value)
{
    if (strcmp(key, "case") == 0) {
        v->name = copy(value);
    } else if (strcmp(key, "policy") == 0) {
        v->policy = copy(value);
    } else if (strcmp(key, "name") == 0) {
        v->wanted = copy(value);
    } else if (strcmp(key, "now") == 0) {
        v->now_s = atoll(value);
    } else if (strcmp(key, "alloc") == 0) {
        v->alloc = atoll(value);
    } else if (strcmp(key, "client") == 0) {
        v->is_client = 1;
    } else if (strcmp(key, "expire") == 0) {
        v->expires = 1;
    } else if (strcmp(key, "expire_before") == 0) {
        v->expires_before = 1;
    } else if (strcmp(key, "fail") == 0) {
        v->fail = copy(value);
    } else if (strcmp(key, "own") == 0) {
        v->own = copy(value);
    } else if (strcmp(key, "crl_file") == 0) {
        v->crl_file = copy(value);
    } else if (strcmp(key, "anchor") == 0) {
        push(v->anchors, &v->num_anchors, MAX_FILES, value);
    } else if (strcmp(key, "cert") == 0) {
        push(v->certs, &v->num_certs, MAX_FILES * 4, value);
    } else if (strcmp(key, "given_crl") == 0) {
        push(v->crls, &v->num_crls, MAX_FILES, value);
    } else if (strcmp(key, "crl_issuer") == 0) {
        push(v->crl_issuers, &v->num_crl_issuers, MAX_FILES, value);
    } else if (strcmp(key, "staple") == 0) {
        char *file = strchr(value, ' ');
        if (file == NULL || v->num_staples == MAX_FILES) {
            die("staple", value);
        }
        v->staples[v->num_staples++] = (staple_line){(size_t)atoi(value), copy(file + 1)};
    } else if (strcmp(key, "reply") == 0) {
        char *outcome = strchr(value, ' ');
        char *file = outcome != NULL ? strchr(outcome + 1, ' ') : NULL;
        if (file == NULL || v->num_replies == MAX_REPLIES) {
            die("reply", value);
        }
        *outcome++ = *file++ = '\0';
        v->replies[v->num_replies++] = (reply_line){copy(value), copy(outcome), copy(file)};
    } else if (strcmp(key, "family") != 0 && strcmp(key, "expect") != 0
               && strcmp(key, "about") != 0) { /* for others who read this file */
        die("unknown word", key);
    }
}

static void free_list(char **list, size_t num)
{
    for (size_t i = 0; i < num; i++) {
        free(list[i]);
    }
}

static void clear(vector *v)
{
    free(v->name);
    free(v->wanted);
    free(v->policy);
    free(v->fail);
    free(v->own);
    free(v->crl_file);
    free_list(v->anchors, v->num_anchors);
    free_list(v->certs, v->num_certs);
    free_list(v->crls, v->num_crls);
    free_list(v->crl_issuers, v->num_crl_issuers);
    for (size_t i = 0; i < v->num_staples; i++) {
        free(v->staples[i].file);
    }
    for (size_t i = 0; i < v->num_replies; i++) {
        free(v->replies[i].url);
        free(v->replies[i].outcome);
        free(v->replies[i].file);
    }
    memset(v, 0, sizeof(*v));
    v->alloc = -1;
}

static void print_reasons(void)
{
    size_t num;
    const stls_reason_info *rows = stls_reasons(&num);
    for (size_t i = 0; i < num; i++) {
        puts(rows[i].id);
    }
}

int main(int argc, char **argv)
{
    static vector v;
    char path[4096], line[8192];

    if (argc != 2) {
        fprintf(stderr, "usage: vectors_run FOLDER | --reasons\n");
        return 3;
    }
    if (strcmp(argv[1], "--reasons") == 0) {
        print_reasons();
        return 0;
    }
    folder = argv[1];
    snprintf(path, sizeof(path), "%s/cases.txt", folder);
    FILE *file = need(fopen(path, "r"), path);
    clear(&v);
    memo = need(stls_memo_new(256, NULL), "memo");
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *value = strchr(line, ' ');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (strcmp(line, "end") == 0) {
            run_both(&v);
            clear(&v);
        } else {
            read_line(&v, line, value != NULL ? value : line + strlen(line));
        }
    }
    stls_memo_free(memo);
    fclose(file);
    return 0;
}
