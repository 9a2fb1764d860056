/*
 * A flat walk over a CRL's DER (RFC 5280 section 5.1), in steps, so that tens
 * of megabytes never hold up a host's event loop.  Entries stay where they
 * are; a table of their offsets makes look-ups cheap and exact.
 */
#include "crl.h"

#include <string.h>

#include <openssl/err.h>

#include "error.h"
#include "signature.h"
#include "x509_text.h"

/*
 * The table is at most two thirds full, so that an honest CRL comes nowhere
 * near; one with a serial repeated, unverified as yet, would take quadratic time.
 */
#define MAX_PROBES 1024

/*
 * What is decoded in one go, whatever the step's budget: everything but the
 * entries, and each of them.  Nobody's CRL comes near; it is unverified as yet.
 */
#define MAX_PART_LEN (128 * 1024)

stls_crl *stls_crl_new(const stls_allocator *allocator, unsigned char *der, size_t der_len,
                       void (*free_der)(void *der))
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    stls_crl *crl = stls_alloc(allocator, sizeof(*crl));
    if (crl == NULL) {
        if (free_der != NULL) {
            free_der(der);
        }
        return NULL;
    }
    crl->allocator = *allocator;
    atomic_init(&crl->refs, 1);
    for (size_t i = 0; i < STLS_CRL_NUM_MEMOS; i++) {
        atomic_init(&crl->memos[i].state, 0);
    }
    crl->der = der;
    crl->der_len = der_len;
    crl->free_der = free_der;
    return crl;
}

stls_crl *stls_crl_up_ref(stls_crl *crl)
{
    if (crl != NULL) {
        atomic_fetch_add(&crl->refs, 1);
    }
    return crl;
}

void stls_crl_free(stls_crl *crl)
{
    if (crl == NULL || atomic_fetch_sub(&crl->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = crl->allocator;
    X509_ALGOR_free(crl->algorithm);
    EVP_MD_CTX_free(crl->md);
    X509_NAME_free(crl->issuer);
    ISSUING_DIST_POINT_free(crl->idp);
    CRL_DIST_POINTS_free(crl->freshest);
    AUTHORITY_KEYID_free(crl->akid);
    ASN1_INTEGER_free(crl->number);
    ASN1_INTEGER_free(crl->base_number);
    stls_dealloc(&allocator, crl->table);
    stls_dealloc(&allocator, crl->marks);
    if (crl->free_der != NULL) {
        crl->free_der(crl->der);
    }
    stls_dealloc(&allocator, crl);
}

const unsigned char *stls_crl_get0_der(const stls_crl *crl, size_t *len)
{
    *len = crl->der_len;
    return crl->der;
}

size_t stls_crl_memory_len(const stls_crl *crl)
{
    return sizeof(*crl) + crl->der_len
           + (crl->table != NULL ? ((size_t)crl->table_mask + 1) * sizeof(*crl->table) : 0)
           + crl->cap_marks * sizeof(*crl->marks);
}

uint32_t stls_crl_num_entries(const stls_crl *crl)
{
    return crl->num_entries;
}

/* ---- reading DER -------------------------------------------------------------- */

typedef struct {
    size_t start;   /* of the header */
    size_t content; /* behind the header */
    size_t end;
    int tag; /* ASN.1 universal number, or 0x80 + n for context-specific [n] */
} element;

/* The element at `at`, which must end at or before `end`. Definite lengths, low tags only. */
static int read_element(const unsigned char *der, size_t at, size_t end, element *out)
{
    if (at + 2 > end) {
        return 0;
    }
    unsigned char identifier = der[at];
    size_t len = der[at + 1];
    size_t header = 2;

    if ((identifier & 0x1f) == 0x1f || (identifier & 0x40)) {
        return 0;
    }
    if (len & 0x80) {
        size_t num = len & 0x7f;
        if (num == 0 || num > 4 || at + 2 + num > end || der[at + 2] == 0) {
            return 0;
        }
        len = 0;
        for (size_t i = 0; i < num; i++) {
            len = len << 8 | der[at + 2 + i];
        }
        if (len < 0x80) {
            return 0; /* DER takes the short form */
        }
        header += num;
    }
    if (len > end - at - header) {
        return 0;
    }
    out->start = at;
    out->content = at + header;
    out->end = at + header + len;
    out->tag = (identifier & 0x80) ? 0x80 + (identifier & 0x1f) : identifier & 0x1f;
    return 1;
}

/* The same, of what is decoded in one go. */
static int read_part(const unsigned char *der, size_t at, size_t end, element *out)
{
    return read_element(der, at, end, out) && out->end - out->start <= MAX_PART_LEN;
}

static int is_time(const element *e)
{
    return e->tag == V_ASN1_UTCTIME || e->tag == V_ASN1_GENERALIZEDTIME;
}

static int read_time(const unsigned char *der, const element *e, int64_t *time_s)
{
    const unsigned char *p = der + e->start;
    ASN1_TIME *time = is_time(e) ? d2i_ASN1_TIME(NULL, &p, (long)(e->end - e->start)) : NULL;
    int ok = time != NULL && stls_time_s(time, time_s);
    ASN1_TIME_free(time);
    return ok;
}

/* ---- header and extensions ------------------------------------------------------- */

static int take(void **slot, X509_EXTENSION *extension)
{
    if (*slot != NULL) {
        return 0; /* the same extension twice */
    }
    *slot = X509V3_EXT_d2i(extension);
    return *slot != NULL;
}

/* Where a delta lies is a hint, which may be of no use (RFC 5280 section 5.2.6: not critical). */
static int read_freshest(stls_crl *crl, X509_EXTENSION *extension)
{
    CRL_DIST_POINTS *points = X509V3_EXT_d2i(extension);
    if (points == NULL) {
        crl->is_unusable |= X509_EXTENSION_get_critical(extension);
        return 1;
    }
    if (crl->freshest != NULL) {
        CRL_DIST_POINTS_free(points);
        return 0;
    }
    crl->freshest = points;
    return 1;
}

static int read_extension(stls_crl *crl, X509_EXTENSION *extension)
{
    switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
    case NID_issuing_distribution_point:
        return take((void **)&crl->idp, extension);
    case NID_freshest_crl:
        return read_freshest(crl, extension);
    case NID_authority_key_identifier:
        return take((void **)&crl->akid, extension);
    case NID_crl_number:
        return take((void **)&crl->number, extension);
    case NID_delta_crl:
        return take((void **)&crl->base_number, extension);
    default:
        crl->is_unusable |= X509_EXTENSION_get_critical(extension);
        return 1;
    }
}

static int read_extensions(stls_crl *crl, const element *tagged)
{
    const unsigned char *p = crl->der + tagged->content;
    long len = (long)(tagged->end - tagged->content);
    int ok = 1;

    X509_EXTENSIONS *extensions = d2i_X509_EXTENSIONS(NULL, &p, len);
    if (extensions == NULL || p != crl->der + tagged->end) {
        ok = 0;
    }
    for (int i = 0; ok && i < sk_X509_EXTENSION_num(extensions); i++) {
        ok = read_extension(crl, sk_X509_EXTENSION_value(extensions, i));
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok;
}

/* The AlgorithmIdentifier inside is the one outside (RFC 5280 section 5.1.1.2). */
static int read_algorithms(stls_crl *crl, const element *inner, const element *outer)
{
    size_t len = inner->end - inner->start;
    const unsigned char *p = crl->der + outer->start;

    if (len != outer->end - outer->start
        || memcmp(crl->der + inner->start, crl->der + outer->start, len) != 0) {
        return 0;
    }
    crl->algorithm = d2i_X509_ALGOR(NULL, &p, (long)len);
    return crl->algorithm != NULL;
}

static int read_tbs(stls_crl *crl, const element *tbs, const element *outer_algorithm)
{
    const unsigned char *der = crl->der;
    size_t at = tbs->content;
    element e;

    if (!read_part(der, at, tbs->end, &e)) {
        return 0;
    }
    if (e.tag == V_ASN1_INTEGER) {
        if (e.end - e.content != 1 || der[e.content] != 1) {
            return 0; /* v2, or no version at all */
        }
        at = e.end;
        if (!read_part(der, at, tbs->end, &e)) {
            return 0;
        }
    }
    if (e.tag != V_ASN1_SEQUENCE || !read_algorithms(crl, &e, outer_algorithm)) {
        return 0;
    }
    if (!read_part(der, e.end, tbs->end, &e) || e.tag != V_ASN1_SEQUENCE) {
        return 0;
    }
    const unsigned char *p = der + e.start;
    crl->issuer = d2i_X509_NAME(NULL, &p, (long)(e.end - e.start));
    if (crl->issuer == NULL || !read_part(der, e.end, tbs->end, &e)
        || !read_time(der, &e, &crl->this_update_s)) {
        return 0;
    }
    at = e.end;
    if (at < tbs->end && read_part(der, at, tbs->end, &e) && is_time(&e)) {
        if (!read_time(der, &e, &crl->next_update_s)) {
            return 0;
        }
        at = e.end;
    }
    crl->entries = crl->entries_end = at;
    if (at < tbs->end && read_element(der, at, tbs->end, &e) && e.tag == V_ASN1_SEQUENCE) {
        crl->entries = e.content;
        crl->entries_end = at = e.end;
    }
    if (at < tbs->end) {
        if (!read_part(der, at, tbs->end, &e) || e.tag != 0x80 || e.end != tbs->end) {
            return 0;
        }
        if (!read_extensions(crl, &e)) {
            return 0;
        }
    }
    /* A name relative to the issuer becomes a whole one here, while the CRL is not shared yet. */
    return crl->idp == NULL || crl->idp->distpoint == NULL
           || DIST_POINT_set_dpname(crl->idp->distpoint, crl->issuer);
}

static int read_header(stls_crl *crl)
{
    const unsigned char *der = crl->der;
    element list, tbs, algorithm, signature;

    /* Offsets are 32 bits wide, and 0 means a free place in the table. */
    if (crl->der_len >= UINT32_MAX || !read_element(der, 0, crl->der_len, &list)
        || list.tag != V_ASN1_SEQUENCE || list.end != crl->der_len
        || !read_element(der, list.content, list.end, &tbs) || tbs.tag != V_ASN1_SEQUENCE
        || !read_element(der, tbs.end, list.end, &algorithm)
        || !read_part(der, algorithm.end, list.end, &signature)
        || signature.tag != V_ASN1_BIT_STRING || signature.end != list.end
        || signature.end - signature.content < 2 || der[signature.content] != 0) {
        return 0;
    }
    crl->tbs = tbs.start;
    crl->tbs_len = tbs.end - tbs.start;
    crl->sig = der + signature.content + 1;
    crl->sig_len = signature.end - signature.content - 1;
    if (!read_tbs(crl, &tbs, &algorithm)) {
        return 0;
    }

    const EVP_MD *md = stls_signature_digest(crl->algorithm);
    if (md != NULL) {
        crl->md = EVP_MD_CTX_new();
        if (crl->md == NULL || !EVP_DigestInit_ex(crl->md, md, NULL)) {
            crl->lacks_memory = 1;
            return 0;
        }
    }
    return 1;
}

/* ---- entries ----------------------------------------------------------------------- */

static const unsigned char oid_reason[] = {0x55, 0x1d, 0x15};
static const unsigned char oid_invalidity_date[] = {0x55, 0x1d, 0x18};
static const unsigned char oid_hold_instruction[] = {0x55, 0x1d, 0x17};
static const unsigned char oid_certificate_issuer[] = {0x55, 0x1d, 0x1d};

typedef struct {
    element whole, serial, date;
    element reason;       /* content of the extension's octets; tag 0: absent */
    element issuer_names; /* likewise */
    int is_unusable;
} entry_view;

static int has_oid(const unsigned char *der, const element *e, const unsigned char oid[3])
{
    return e->end - e->content == 3 && memcmp(der + e->content, oid, 3) == 0;
}

/* The only element in an octet string, once. */
static int read_inner(const unsigned char *der, const element *octets, element *inner)
{
    return inner->tag == 0 && read_element(der, octets->content, octets->end, inner)
           && inner->end == octets->end;
}

static int read_entry_extension(const unsigned char *der, const element *extension,
                                entry_view *view)
{
    element oid, value;
    int is_critical = 0;

    if (extension->tag != V_ASN1_SEQUENCE
        || !read_element(der, extension->content, extension->end, &oid) || oid.tag != V_ASN1_OBJECT
        || !read_element(der, oid.end, extension->end, &value)) {
        return 0;
    }
    if (value.tag == V_ASN1_BOOLEAN) {
        is_critical = value.end - value.content == 1 && der[value.content] != 0;
        if (!read_element(der, value.end, extension->end, &value)) {
            return 0;
        }
    }
    if (value.tag != V_ASN1_OCTET_STRING || value.end != extension->end) {
        return 0;
    }
    /* What others hold need not even be DER. */
    if (has_oid(der, &oid, oid_reason)) {
        return read_inner(der, &value, &view->reason);
    }
    if (has_oid(der, &oid, oid_certificate_issuer)) {
        return read_inner(der, &value, &view->issuer_names);
    }
    if (!has_oid(der, &oid, oid_invalidity_date) && !has_oid(der, &oid, oid_hold_instruction)) {
        view->is_unusable |= is_critical; /* RFC 5280 section 5.3 */
    }
    return 1;
}

/* A serial number in its only DER form, so that equal numbers are equal bytes. */
static int is_minimal(const unsigned char *der, const element *serial)
{
    size_t len = serial->end - serial->content;
    if (len == 0 || len == 1) {
        return len == 1;
    }
    unsigned char first = der[serial->content], second = der[serial->content + 1];
    return !(first == 0 && !(second & 0x80)) && !(first == 0xff && (second & 0x80));
}

static int read_entry(const stls_crl *crl, size_t at, entry_view *view)
{
    const unsigned char *der = crl->der;
    element extensions, extension;

    memset(view, 0, sizeof(*view));
    if (!read_part(der, at, crl->entries_end, &view->whole) || view->whole.tag != V_ASN1_SEQUENCE
        || !read_element(der, view->whole.content, view->whole.end, &view->serial)
        || view->serial.tag != V_ASN1_INTEGER || !is_minimal(der, &view->serial)
        || !read_element(der, view->serial.end, view->whole.end, &view->date)
        || !is_time(&view->date)) {
        return 0;
    }
    if (view->date.end == view->whole.end) {
        return 1;
    }
    if (!read_element(der, view->date.end, view->whole.end, &extensions)
        || extensions.tag != V_ASN1_SEQUENCE || extensions.end != view->whole.end) {
        return 0;
    }
    for (size_t i = extensions.content; i < extensions.end; i = extension.end) {
        if (!read_element(der, i, extensions.end, &extension)
            || !read_entry_extension(der, &extension, view)) {
            return 0;
        }
    }
    return 1;
}

static uint32_t hash_serial(const unsigned char *bytes, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, folded */
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    hash ^= hash >> 32;
    return (uint32_t)(hash * 0x9e3779b1u >> 7);
}

static stls_status mark_issuer(stls_crl *crl, const entry_view *view)
{
    if (view->issuer_names.tag == 0) {
        return STLS_OK;
    }
    if (stls_grow(&crl->allocator, (void **)&crl->marks, &crl->cap_marks, crl->num_marks,
                  sizeof(*crl->marks))
        != STLS_OK) {
        crl->lacks_memory = 1;
        return STLS_ERR_MEMORY;
    }
    crl->marks[crl->num_marks++] = (stls_crl_issuer_mark){
        (uint32_t)view->whole.start, (uint32_t)view->issuer_names.start,
        (uint32_t)(view->issuer_names.end - view->issuer_names.start)};
    return STLS_OK;
}

static int count_entry(stls_crl *crl, const entry_view *view)
{
    crl->num_entries++;
    crl->is_unusable |= view->is_unusable;
    return mark_issuer(crl, view) == STLS_OK;
}

static int insert_entry(stls_crl *crl, const entry_view *view)
{
    uint32_t place = hash_serial(crl->der + view->serial.content,
                                 view->serial.end - view->serial.content);
    for (int probes = 0; crl->table[place & crl->table_mask] != 0; place++) {
        if (++probes > MAX_PROBES) {
            return 0;
        }
    }
    crl->table[place & crl->table_mask] = (uint32_t)view->whole.start;
    return 1;
}

static int make_table(stls_crl *crl)
{
    uint64_t size = 8;
    while (size < (uint64_t)crl->num_entries * 3 / 2) {
        size *= 2;
    }
    /* Not by stls_alloc(), which clears it all at once. */
    crl->table = crl->allocator.alloc(crl->allocator.baton, (size_t)size * sizeof(*crl->table));
    crl->table_mask = (uint32_t)(size - 1);
    crl->lacks_memory = crl->table == NULL;
    return crl->table != NULL;
}

int64_t stls_crl_this_update_s(const stls_crl *crl)
{
    return crl->this_update_s;
}

stls_status stls_crl_id(const stls_crl *crl, unsigned char id[STLS_ID_LEN])
{
    return EVP_Digest(crl->sig, crl->sig_len, id, NULL, EVP_sha256(), NULL) ? STLS_OK
                                                                            : STLS_ERR_MEMORY;
}

/* ---- stepping ------------------------------------------------------------------------ */

static int walk(stls_crl *crl, size_t budget, int (*visit)(stls_crl *, const entry_view *))
{
    size_t stop = crl->entries_end - crl->at > budget ? crl->at + budget : crl->entries_end;
    while (crl->at < stop) {
        entry_view view;
        if (!read_entry(crl, crl->at, &view) || !visit(crl, &view)) {
            return 0;
        }
        crl->at = view.whole.end;
    }
    return 1;
}

/* `at` counts the table's bytes here. */
static void clear_on(stls_crl *crl, size_t budget)
{
    size_t left = ((size_t)crl->table_mask + 1) * sizeof(*crl->table) - crl->at;
    size_t len = left < budget ? left : budget;
    memset((unsigned char *)crl->table + crl->at, 0, len);
    crl->at += len;
    if (len == left) {
        crl->at = crl->entries;
        crl->phase = STLS_CRL_INSERT;
    }
}

static int hash_on(stls_crl *crl, size_t budget)
{
    size_t left = crl->tbs + crl->tbs_len - crl->at;
    size_t len = left < budget ? left : budget;
    if (crl->md == NULL) {
        crl->at += left;
        return 1;
    }
    if (!EVP_DigestUpdate(crl->md, crl->der + crl->at, len)) {
        return 0;
    }
    crl->at += len;
    return len < left || EVP_DigestFinal_ex(crl->md, crl->digest, NULL);
}

static int step_on(stls_crl *crl, size_t budget)
{
    switch (crl->phase) {
    case STLS_CRL_HEADER:
        if (!read_header(crl)) {
            return 0;
        }
        crl->at = crl->tbs;
        crl->phase = STLS_CRL_HASH;
        return 1;
    case STLS_CRL_HASH:
        if (!hash_on(crl, budget)) {
            return 0;
        }
        if (crl->at == crl->tbs + crl->tbs_len) {
            crl->at = crl->entries;
            crl->phase = STLS_CRL_COUNT;
        }
        return 1;
    case STLS_CRL_COUNT:
        if (!walk(crl, budget, count_entry)) {
            return 0;
        }
        if (crl->at == crl->entries_end) {
            crl->at = 0;
            crl->phase = STLS_CRL_CLEAR;
            return make_table(crl);
        }
        return 1;
    case STLS_CRL_CLEAR:
        clear_on(crl, budget);
        return 1;
    case STLS_CRL_INSERT:
        if (!walk(crl, budget, insert_entry)) {
            return 0;
        }
        if (crl->at == crl->entries_end) {
            crl->phase = STLS_CRL_READY;
        }
        return 1;
    default:
        return 1;
    }
}

int stls_crl_lacks_memory(const stls_crl *crl)
{
    return crl->lacks_memory;
}

stls_crl_state stls_crl_step(stls_crl *crl, size_t budget_bytes)
{
    if (crl->phase != STLS_CRL_READY && crl->phase != STLS_CRL_BROKEN) {
        stls_errors_mark();
        int ok = step_on(crl, budget_bytes > 0 ? budget_bytes : 1);
        if (stls_errors_pop()) {
            crl->lacks_memory = 1;
        }
        if (!ok || crl->lacks_memory) {
            crl->phase = STLS_CRL_BROKEN;
        }
    }
    return crl->phase == STLS_CRL_READY    ? STLS_CRL_DONE
           : crl->phase == STLS_CRL_BROKEN ? STLS_CRL_FAILED
                                           : STLS_CRL_MORE;
}

/* ---- look-up --------------------------------------------------------------------------- */

/* -1: they name no CA, or cannot be decoded, so that the entry may be about anybody. */
static int names_have(const stls_crl *crl, const stls_crl_issuer_mark *mark, const X509_NAME *name)
{
    const unsigned char *p = crl->der + mark->names;
    int found = -1;
    GENERAL_NAMES *names = d2i_GENERAL_NAMES(NULL, &p, mark->names_len);
    for (int i = 0; found <= 0 && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        if (one->type == GEN_DIRNAME) {
            found = X509_NAME_cmp(one->d.directoryName, name) == 0;
        }
    }
    GENERAL_NAMES_free(names);
    return found;
}

/* RFC 5280 section 5.3.3: the issuer named last at or before the entry, else the CRL's own. */
static int is_of_issuer(const stls_crl *crl, uint32_t entry, const X509_NAME *name)
{
    size_t low = 0, high = crl->num_marks;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (crl->marks[middle].entry <= entry) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? X509_NAME_cmp(crl->issuer, name) == 0
                    : names_have(crl, &crl->marks[low - 1], name);
}

/* What one entry says: 1 and `*entry` that it is about this certificate, -1 that it may be. */
static int read_found(const stls_crl *crl, uint32_t at, const X509_NAME *issuer,
                      const entry_view *view, stls_crl_entry *entry)
{
    const element *reason = &view->reason;
    int found = is_of_issuer(crl, at, issuer);

    if (found <= 0) {
        return found;
    }
    /* Listed is revoked, even where date or reason cannot be read. */
    if (!read_time(crl->der, &view->date, &entry->revoked_at_s)) {
        entry->revoked_at_s = 0;
    }
    entry->reason = reason->tag == V_ASN1_ENUMERATED && reason->end - reason->content == 1
                        ? crl->der[reason->content]
                        : -1;
    return 1;
}

/* Of several entries about one certificate the one counts that is the hardest to lift. */
static int weight(int found, const stls_crl_entry *entry)
{
    if (found <= 0) {
        return found < 0 ? 2 : 0;
    }
    switch (entry->reason) {
    case CRL_REASON_REMOVE_FROM_CRL:
        return 1;
    case CRL_REASON_CERTIFICATE_HOLD:
        return 3;
    case CRL_REASON_UNSPECIFIED:
    case -1:
        return 4;
    default:
        return 5;
    }
}

int stls_crl_find(const stls_crl *crl, const X509 *cert, stls_crl_entry *entry)
{
    unsigned char *serial = NULL;
    int found = 0;
    element e;

    if (crl->phase != STLS_CRL_READY) {
        return -1;
    }
    int serial_len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &serial);
    if (serial_len <= 0 || !read_element(serial, 0, (size_t)serial_len, &e)) {
        OPENSSL_free(serial);
        return -1;
    }
    const unsigned char *content = serial + e.content;
    size_t len = e.end - e.content;
    for (uint32_t place = hash_serial(content, len);; place++) {
        uint32_t at = crl->table[place & crl->table_mask];
        entry_view view;
        stls_crl_entry one = {0, -1};
        int by_this = 0;
        if (at == 0) {
            break;
        }
        if (!read_entry(crl, at, &view)) {
            by_this = -1;
        } else if (view.serial.end - view.serial.content == len
                   && memcmp(crl->der + view.serial.content, content, len) == 0) {
            by_this = read_found(crl, at, X509_get_issuer_name(cert), &view, &one);
        }
        if (weight(by_this, &one) > weight(found, entry)) {
            found = by_this;
            *entry = one;
        }
    }
    OPENSSL_free(serial);
    return found;
}
