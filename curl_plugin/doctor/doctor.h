/*
 * strict-tls, the doctor: what its files owe each other.
 *
 * A diagnosis is one JSON object (docs/doctor.md).  probe.c and file.c gather,
 * judge.c and lenient.c judge, chain.c lays the certificates out, and tree.c,
 * html.c and json.c only render what the object says.
 */
#ifndef STLS_DOCTOR_H
#define STLS_DOCTOR_H

#include <stdio.h>

#include <jansson.h>
#include <openssl/ssl.h>

#include "strict_tls/strict_tls.h"

/* Exit codes. Of several hosts: any reject, else any unknown, else accept. */
enum { DOCTOR_ACCEPT = 0, DOCTOR_REJECT = 1, DOCTOR_UNKNOWN = 2, DOCTOR_USAGE = 3 };

/* ---- options.c: the table, and what was asked for --------------------------- */

typedef struct {
    const char *command;
    const char **args; /* operands */
    int num_args;
    const char *connect_to, *name, *cert, *key, *preset, *starttls, *cafile, *client_cafile, *tls;
    const char *policy, *hosts, *html, *color;
    const char *parallel, *timeout, *interval, *rounds;                   /* numbers, as written */
    const char *offline, *online, *json, *watch, *quiet, *help, *version; /* flags: not NULL */
} doctor_options;

/* 0, or DOCTOR_USAGE after a sentence on stderr. */
int doctor_options_parse(doctor_options *options, int argc, char **argv);
void doctor_options_help(FILE *out);
void doctor_options_man(FILE *out);
void doctor_options_completion(FILE *out);

/* The number behind an option, `def` where it was not given; -1 after a sentence on stderr. */
long doctor_number(const char *option, const char *text, long min, long max, long def);

/* ---- trust.c: policy and trust store ---------------------------------------- */

typedef struct {
    stls_policy *policy;
    stls_anchors *anchors;
    STACK_OF(X509) *certs; /* all of the bundle, intermediates included */
    X509_STORE *store;     /* the same as a lenient client has it */
} doctor_trust;

/* The trust store and policy that the options ask for; `cafile` NULL: the system's. 0, or
 * DOCTOR_USAGE after a sentence on stderr. */
int doctor_trust_open(doctor_trust *trust, const doctor_options *options, const char *cafile,
                      int ask_revocation, int compare_name);
void doctor_trust_close(doctor_trust *trust);

/* The certificates of a PEM file, in order; NULL after a sentence on stderr. */
STACK_OF(X509) *doctor_read_certs(const char *path);
/* The private key in a PEM file; NULL after a sentence on stderr. */
EVP_PKEY *doctor_read_key(const char *path);

/* ---- leaf.c: which certificate is the leaf ------------------------------------ */

/*
 * The one that belongs to `key` (may be NULL); else the first, unless it is a
 * CA's: then the only end-entity certificate behind it, if there is one.  -1:
 * there are several.
 */
int doctor_find_leaf(const STACK_OF(X509) *certs, EVP_PKEY *key);
/* The same certificates with that one first; the caller frees them. NULL: out of memory. */
STACK_OF(X509) *doctor_leaf_first(const STACK_OF(X509) *certs, int leaf);
/* Tells where the leaf does not stand first (leaf.not_first) or is not known (leaf.unclear). */
void doctor_leaf_problem(json_t *diagnosis, const STACK_OF(X509) *certs, int leaf, const char *who);

/* ---- text.c: values for people, printable ASCII ------------------------------ */

#define DOCTOR_TEXT_LEN 512

void doctor_name_text(const X509_NAME *name, char text[DOCTOR_TEXT_LEN]);
void doctor_key_id_text(const ASN1_OCTET_STRING *id, char text[DOCTOR_TEXT_LEN]);
/* Where the issuer of this certificate is published; "" if it does not say. */
void doctor_issuer_url(const X509 *cert, char text[DOCTOR_TEXT_LEN]);
int64_t doctor_time_s(const ASN1_TIME *time);
/* Other people's text made harmless: anything but printable ASCII becomes '?'. */
void doctor_plain(char *text);
void doctor_date(int64_t time_s, char text[32]);

/* Members of JSON objects; "" and -1 where they are missing or null. */
const char *doctor_str(const json_t *object, const char *key);
int64_t doctor_int(const json_t *object, const char *key);

/* ---- target.c: what to connect to --------------------------------------------- */

typedef struct {
    char label[300];   /* as the user wrote it, harmless */
    char name[256];    /* wanted of the certificate, in A-labels; no brackets */
    char url[600];     /* scheme://NAME:PORT/ */
    char connect[600]; /* for CURLOPT_CONNECT_TO, "" if the URL says it all */
    char host[256];    /* connected to */
    unsigned port;
    const char *starttls; /* NULL: TLS from the first byte */
} doctor_target;

/* `wanted_name` NULL: the options'. 1, or 0 and why not. */
int doctor_target_parse(doctor_target *target, const doctor_options *options, const char *text,
                        const char *wanted_name, stls_error *err);
/* The arguments that name this endpoint to another command, fit for a shell. */
void doctor_target_words(char *words, size_t len, const doctor_options *options, const char *label,
                         const char *wanted_name);
/* A host name or address into the form that is compared with certificates. 1, or 0 and why not. */
int doctor_target_name(char name[256], const char *text, stls_error *err);

/* ---- probe.c: connects and captures -------------------------------------------- */

typedef struct {
    STACK_OF(X509) *certs;  /* as presented */
    unsigned char *message; /* the Certificate message, as it came */
    size_t message_len;
    unsigned char *staples; /* as stls_staples_get1() gives them */
    size_t staples_len;
    int is_connected; /* a handshake was begun */
    int is_complete;  /* the handshake was completed, and the peer did not object afterwards */
    int is_over;      /* libcurl was content, too: the protocol behind STARTTLS went on */
    int asked_client; /* the server wanted a client certificate */
    int sent_client;
    int peer_alert;      /* the alert that the server sent, -1 if none */
    int64_t complete_ms; /* when that was noticed; only with STARTTLS */
    int new_session;     /* the server went on after our Finished */
    json_t *acceptable_cas;
    char tls_version[32], cipher[64], address[64];
    char error[DOCTOR_TEXT_LEN];
} doctor_capture;

void doctor_probe(doctor_capture *capture, const doctor_target *target,
                  const doctor_options *options, long timeout_s);
void doctor_capture_free(doctor_capture *capture);

/* ---- judging ---------------------------------------------------------------------- */

/* What a peer presented, and as whom. */
typedef struct {
    stls_role role;
    const STACK_OF(X509) *certs;
    const char *name; /* NULL: not compared */
    const unsigned char *staples;
    size_t staples_len;
    const unsigned char *message; /* in place of `certs`, where OpenSSL could not decode them */
    size_t message_len;
    int is_tls13;
} doctor_peer;

/* judge.c: the core's verdict; carries its fetches out. NULL: out of memory. */
stls_result *doctor_judge(const doctor_trust *trust, const doctor_peer *peer);

/* lenient.c: what a stock client makes of it: {"verdict", "detail"}. */
json_t *doctor_lenient(const doctor_trust *trust, const STACK_OF(X509) *certs, const char *name);

/* repair.c: the chain as it should be, with issuers fetched where `online`. */
typedef struct {
    STACK_OF(X509) *chain; /* NULL: it cannot be completed, and why */
    char *pem;
    char *changes; /* a sentence per line */
    stls_error err;
} doctor_repaired;
void doctor_repair(doctor_repaired *repaired, const doctor_trust *trust, const doctor_peer *peer,
                   int online);
void doctor_repaired_free(doctor_repaired *repaired);

/* chain.c: the drawing, leaf to root, with the gaps: an array of nodes. */
json_t *doctor_chain(const doctor_trust *trust, const STACK_OF(X509) *presented,
                     const STACK_OF(X509) *repaired, const json_t *report);

/* ---- diagnoses ---------------------------------------------------------------------- */

/* What they need besides: the user's own certificate, read once. */
typedef struct {
    const doctor_options *options;
    doctor_trust trust;
    doctor_trust client_trust;
    STACK_OF(X509) *client_certs; /* NULL: no --cert */
    int online;
    long timeout_s;
} doctor_context;

/* check.c. `name` NULL: the options'. */
json_t *doctor_check(const doctor_context *context, const char *host, const char *name);

/* diagnosis.c */
json_t *doctor_diagnosis_new(const char *kind);
/* Judges the peer's chain and fills reason, who, lenient, strict, chain and repair. */
void doctor_diagnosis_judge(json_t *diagnosis, const doctor_trust *trust, const doctor_peer *peer,
                            int online);
/* Something wrong beside the core's reasons. `exit_code` DOCTOR_ACCEPT: only a note. */
void doctor_diagnosis_problem(json_t *diagnosis, const char *id, int exit_code, const char *who,
                              const char *detail, const char *remedy);
/* Sets verdict and exit code from what was found. Last. */
void doctor_diagnosis_finish(json_t *diagnosis);
int doctor_diagnosis_exit(const json_t *diagnosis);
/* A member of the first problem that is an error, "" if there is none. */
const char *doctor_first_problem(const json_t *diagnosis, const char *key);

/* ---- rendering ------------------------------------------------------------------------ */

void doctor_tree(FILE *out, const json_t *diagnosis, int colour);
void doctor_line(FILE *out, const json_t *diagnosis, int colour); /* one line of a list */
/* 0 after a sentence on stderr. */
int doctor_html(const char *path, const json_t *diagnoses);

/* ---- commands ---------------------------------------------------------------------------- */

int doctor_run_check(doctor_context *context);
int doctor_run_file(doctor_context *context);
int doctor_run_fix(doctor_context *context);
/* list.c: many hosts, and the same again and again. */
int doctor_run_list(doctor_context *context);
int doctor_run_watch(doctor_context *context);
/* show.c: one diagnosis as the options say, the page apart; `is_line`: as one of many. */
void doctor_show(const doctor_context *context, const json_t *diagnosis, int is_line);
/* Writes the page, if one is wanted. The exit code that is due then. */
int doctor_page(const doctor_context *context, json_t *diagnoses, int exit_code);
int doctor_colour(const doctor_options *options, FILE *out);
/* Flushes standard output. The exit code that is due then: what was not written is lost. */
int doctor_flush(int exit_code);

#endif
