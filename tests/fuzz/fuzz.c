#include "fuzz.h"

#include <stdio.h>
#include <string.h>

X509 *fuzz_leaf, *fuzz_inter, *fuzz_root;
stls_anchors *fuzz_anchors;

fuzz_file fuzz_read(const char *name)
{
    char path[1024];
    const char *dir = getenv("STRICT_TLS_FUZZ_DIR");
    fuzz_file file = {malloc(1 << 20), 0};

    snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : ".", name);
    FILE *in = fopen(path, "rb");
    if (in == NULL || file.bytes == NULL) {
        fprintf(stderr, "cannot read %s: set STRICT_TLS_FUZZ_DIR\n", path);
        exit(2);
    }
    file.len = fread(file.bytes, 1, 1 << 20, in);
    fclose(in);
    return file;
}

X509 *fuzz_cert(const char *name)
{
    fuzz_file file = fuzz_read(name);
    const unsigned char *p = file.bytes;
    X509 *cert = d2i_X509(NULL, &p, (long)file.len);
    MUST(cert != NULL);
    free(file.bytes);
    return cert;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_leaf = fuzz_cert("leaf.der");
    fuzz_inter = fuzz_cert("inter.der");
    fuzz_root = fuzz_cert("root.der");

    fuzz_file pem = fuzz_read("root.pem");
    BIO *bio = BIO_new_mem_buf(pem.bytes, (int)pem.len);
    fuzz_anchors = stls_anchors_new(NULL);
    MUST(stls_anchors_load(fuzz_anchors, bio, NULL) == STLS_OK);
    MUST(stls_anchors_freeze(fuzz_anchors, NULL) == STLS_OK);
    BIO_free(bio);
    free(pem.bytes);
    return 0;
}

stls_policy *fuzz_policy(const char *text)
{
    stls_policy *policy = stls_policy_new(NULL);
    MUST(stls_policy_set_text(policy, text, NULL) == STLS_OK);
    MUST(stls_policy_freeze(policy, NULL) == STLS_OK);
    return policy;
}

int fuzz_next(const uint8_t **data, size_t *len, const uint8_t **piece, size_t *piece_len)
{
    if (*len < 2) {
        return 0;
    }
    size_t wanted = (size_t)(*data)[0] << 8 | (*data)[1];
    *data += 2;
    *len -= 2;
    *piece = *data;
    *piece_len = wanted < *len ? wanted : *len;
    *data += *piece_len;
    *len -= *piece_len;
    return 1;
}

void fuzz_must_hold(stls_check *check)
{
    stls_result *result = stls_check_get1_result(check);
    size_t len = 0;

    MUST(result != NULL);
    MUST(stls_result_verdict(result) == stls_check_verdict(check));
    const char *report = stls_result_get0_report(result, &len);
    MUST(len == strlen(report));
    for (size_t i = 0; i < len; i++) {
        MUST(report[i] >= 0x20 && report[i] < 0x7f);
    }
    if (stls_result_verdict(result) == STLS_ACCEPT) {
        MUST(check->passed == STLS_PASSED_ALL);
        MUST(stls_findings_primary(&check->findings) == NULL && !check->findings.out_of_memory);
        MUST(check->path.is_valid && check->path.is_complete);
        MUST(stls_result_reason(result) == STLS_REASON_NONE);
        MUST(stls_ladder_is_done(&check->ladder));
    } else if (stls_result_verdict(result) == STLS_REJECT) {
        MUST(stls_result_reason(result) != STLS_REASON_NONE);
    }
    stls_result_free(result);
}
