/*
 * A file with CRLs in PEM (RFC 7468 section 6), or with one in DER, read in
 * steps like a CRL itself.
 */
#include "crl_file.h"

#include <string.h>

#include <openssl/err.h>

#include "error.h"

static const char begin_mark[] = "-----BEGIN X509 CRL-----";
static const char end_mark[] = "-----END X509 CRL-----";

#define BEGIN_LEN (sizeof(begin_mark) - 1)
#define END_LEN (sizeof(end_mark) - 1)

static void free_openssl(void *bytes)
{
    OPENSSL_free(bytes);
}

stls_crl_file *stls_crl_file_new(const stls_allocator *allocator, unsigned char *bytes, size_t len,
                                 void (*free_bytes)(void *bytes))
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    stls_crl_file *file = stls_alloc(allocator, sizeof(*file));
    if (file == NULL) {
        if (free_bytes != NULL) {
            free_bytes(bytes);
        }
        return NULL;
    }
    file->allocator = *allocator;
    atomic_init(&file->refs, 1);
    file->bytes = bytes;
    file->len = len;
    file->free_bytes = free_bytes;
    return file;
}

stls_crl_file *stls_crl_file_up_ref(stls_crl_file *file)
{
    if (file != NULL) {
        atomic_fetch_add(&file->refs, 1);
    }
    return file;
}

static void drop_bytes(stls_crl_file *file)
{
    if (file->free_bytes != NULL) {
        file->free_bytes(file->bytes);
    }
    file->bytes = NULL;
    file->free_bytes = NULL;
}

void stls_crl_file_free(stls_crl_file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = file->allocator;
    drop_bytes(file);
    EVP_MD_CTX_free(file->md);
    OPENSSL_free(file->der);
    stls_crl_free(file->open);
    for (size_t i = 0; i < file->num_crls; i++) {
        stls_crl_free(file->crls[i]);
    }
    stls_dealloc(&allocator, file->crls);
    stls_dealloc(&allocator, file);
}

const unsigned char *stls_crl_file_get0_id(const stls_crl_file *file)
{
    return file->phase == STLS_FILE_READY ? file->id : NULL;
}

size_t stls_crl_file_num_crls(const stls_crl_file *file)
{
    return file->num_crls;
}

size_t stls_crl_file_memory_len(const stls_crl_file *file)
{
    size_t len = sizeof(*file) + (file->bytes != NULL ? file->len : 0);
    for (size_t i = 0; i < file->num_crls; i++) {
        len += stls_crl_memory_len(file->crls[i]);
    }
    return len;
}

/* ---- steps
 * ------------------------------------------------------------------------ */

static stls_status hash_on(stls_crl_file *file, size_t budget)
{
    size_t left = file->len - file->at;
    size_t len = left < budget ? left : budget;

    if (file->md == NULL) {
        file->md = EVP_MD_CTX_new();
        if (file->md == NULL || !EVP_DigestInit_ex(file->md, EVP_sha256(), NULL)) {
            return STLS_ERR_MEMORY;
        }
    }
    if (!EVP_DigestUpdate(file->md, file->bytes + file->at, len)) {
        return STLS_ERR_MEMORY;
    }
    file->at += len;
    if (file->at == file->len) {
        if (!EVP_DigestFinal_ex(file->md, file->id, NULL)) {
            return STLS_ERR_MEMORY;
        }
        file->at = 0;
        file->phase = STLS_FILE_SCAN;
    }
    return STLS_OK;
}

/* Walks the DER from here on; it is the CRL's own now. */
static stls_status open_crl(stls_crl_file *file, unsigned char *der, size_t len,
                            void (*free_der)(void *))
{
    file->open = stls_crl_new(&file->allocator, der, len, free_der);
    file->phase = STLS_FILE_WALK;
    return file->open != NULL ? STLS_OK : STLS_ERR_MEMORY;
}

static stls_status end_of_file(stls_crl_file *file, stls_error *err)
{
    if (file->num_crls == 0) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "there is no CRL in it, in PEM or DER");
    }
    drop_bytes(file);
    file->phase = STLS_FILE_READY;
    return STLS_OK;
}

/* Offset of `mark` at or behind `at`, of marks that begin before `stop`; `stop`
 * if there is none. */
static size_t find(const stls_crl_file *file, const char *mark, size_t mark_len, size_t stop)
{
    size_t at = file->at;
    while (at < stop) {
        const unsigned char *dash = memchr(file->bytes + at, '-', stop - at);
        if (dash == NULL) {
            return stop;
        }
        at = (size_t)(dash - file->bytes);
        if (file->len - at >= mark_len && memcmp(dash, mark, mark_len) == 0) {
            return at;
        }
        at++;
    }
    return stop;
}

static size_t stop_at(const stls_crl_file *file, size_t budget)
{
    return file->len - file->at > budget ? file->at + budget : file->len;
}

static stls_status scan_on(stls_crl_file *file, size_t budget, stls_error *err)
{
    if (file->at == 0 && file->len > 0
        && file->bytes[0] == (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED)) {
        unsigned char *der = file->bytes;
        void (*free_der)(void *) = file->free_bytes;
        file->bytes = NULL;
        file->free_bytes = NULL;
        file->at = file->len;
        return open_crl(file, der, file->len, free_der);
    }
    size_t stop = stop_at(file, budget);
    file->at = find(file, begin_mark, BEGIN_LEN, stop);
    if (file->at < stop) {
        file->at += BEGIN_LEN;
        file->end = file->at;
        file->phase = STLS_FILE_FIND_END;
        return STLS_OK;
    }
    return file->at == file->len ? end_of_file(file, err) : STLS_OK;
}

static stls_status cannot_decode(const stls_crl_file *file, stls_error *err)
{
    return stls_error_set(err, STLS_ERR_ARGUMENT, "CRL %zu cannot be decoded", file->num_crls + 1);
}

static stls_status find_end_on(stls_crl_file *file, size_t budget, stls_error *err)
{
    size_t begin = file->at;
    file->at = file->end;
    size_t stop = stop_at(file, budget);
    file->end = find(file, end_mark, END_LEN, stop);
    file->at = begin;
    if (file->end == file->len) {
        return cannot_decode(file, err);
    }
    if (file->end < stop) {
        file->der = OPENSSL_malloc((file->end - begin) / 4 * 3 + 3);
        if (file->der == NULL) {
            return STLS_ERR_MEMORY;
        }
        file->der_len = 0;
        file->quantum = 0;
        file->num_chars = file->num_padding = 0;
        file->phase = STLS_FILE_DECODE;
    }
    return STLS_OK;
}

static int value_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * One character of base64 (RFC 7468 section 3).  By hand: what OpenSSL's
 * decoder makes of a malformed text depends on the pieces that it comes in.
 */
static int decode_char(stls_crl_file *file, unsigned char c)
{
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
        return 1;
    }
    int value = c == '=' ? 0 : value_of(c);
    if (value < 0 || (c != '=' && file->num_padding > 0) || (c == '=' && file->num_chars < 2)) {
        return 0;
    }
    file->num_padding += c == '=';
    file->quantum = file->quantum << 6 | (uint32_t)value;
    if (++file->num_chars == 4) {
        for (int i = 0; i < 3 - file->num_padding; i++) {
            file->der[file->der_len++] = (unsigned char)(file->quantum >> (16 - 8 * i));
        }
        file->num_chars = 0;
        file->quantum = 0;
    }
    return 1;
}

static stls_status decode_on(stls_crl_file *file, size_t budget, stls_error *err)
{
    size_t stop = file->end - file->at > budget ? file->at + budget : file->end;

    for (; file->at < stop; file->at++) {
        if (!decode_char(file, file->bytes[file->at])) {
            return cannot_decode(file, err);
        }
    }
    if (file->at < file->end) {
        return STLS_OK;
    }
    if (file->num_chars != 0) {
        return cannot_decode(file, err);
    }
    unsigned char *der = file->der;
    file->der = NULL;
    file->at += END_LEN;
    return open_crl(file, der, file->der_len, free_openssl);
}

static stls_status walk_on(stls_crl_file *file, size_t budget, stls_error *err)
{
    switch (stls_crl_step(file->open, budget)) {
    case STLS_CRL_MORE:
        return STLS_OK;
    case STLS_CRL_DONE:
        break;
    default:
        return stls_crl_lacks_memory(file->open) ? STLS_ERR_MEMORY : cannot_decode(file, err);
    }
    if (stls_grow(&file->allocator, (void **)&file->crls, &file->cap_crls, file->num_crls,
                  sizeof(*file->crls))
        != STLS_OK) {
        return STLS_ERR_MEMORY;
    }
    file->crls[file->num_crls++] = file->open;
    file->open = NULL;
    file->phase = STLS_FILE_SCAN;
    return file->at == file->len ? end_of_file(file, err) : STLS_OK;
}

static stls_status step_on(stls_crl_file *file, size_t budget, stls_error *err)
{
    switch (file->phase) {
    case STLS_FILE_HASH:
        return hash_on(file, budget);
    case STLS_FILE_SCAN:
        return scan_on(file, budget, err);
    case STLS_FILE_FIND_END:
        return find_end_on(file, budget, err);
    case STLS_FILE_DECODE:
        return decode_on(file, budget, err);
    case STLS_FILE_WALK:
        return walk_on(file, budget, err);
    default:
        return STLS_OK;
    }
}

int stls_crl_file_lacks_memory(const stls_crl_file *file)
{
    return file->lacks_memory;
}

stls_crl_state stls_crl_file_step(stls_crl_file *file, size_t budget_bytes, stls_error *err)
{
    if (file->phase == STLS_FILE_READY) {
        return STLS_CRL_DONE;
    }
    if (file->phase == STLS_FILE_BROKEN) {
        return STLS_CRL_FAILED;
    }
    ERR_set_mark();
    stls_status status = step_on(file, budget_bytes > 0 ? budget_bytes : 1, err);
    ERR_pop_to_mark();
    if (status == STLS_ERR_MEMORY) {
        stls_error_set(err, status, "out of memory");
        file->lacks_memory = 1;
    }
    if (status != STLS_OK) {
        file->phase = STLS_FILE_BROKEN;
        return STLS_CRL_FAILED;
    }
    return file->phase == STLS_FILE_READY ? STLS_CRL_DONE : STLS_CRL_MORE;
}
