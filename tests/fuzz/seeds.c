/* Writes the PKI and the seed corpora of all fuzz targets into a folder: seeds DIR. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/pem.h>

#include "support_crl.h"

static const char *dir;

static void put(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, folder);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, name);
    FILE *out = fopen(path, "wb");
    if (out == NULL || fwrite(bytes, 1, len, out) != len || fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}

static void put_cert(const char *name, X509 *cert)
{
    size_t len;
    const unsigned char *der = aid_der(cert, &len);
    put(".", name, der, len);
}

/* Policy byte, then each certificate behind its length. */
static void put_chain(const char *name, unsigned char policy, STACK_OF(X509) *certs)
{
    unsigned char bytes[65536];
    size_t used = 1;
    bytes[0] = policy;
    for (int i = 0; i < sk_X509_num(certs); i++) {
        size_t len;
        const unsigned char *der = aid_der(sk_X509_value(certs, i), &len);
        bytes[used++] = (unsigned char)(len >> 8);
        bytes[used++] = (unsigned char)len;
        memcpy(bytes + used, der, len);
        used += len;
    }
    put("chain", name, bytes, used);
}

static aid_bytes crl_of(X509 *issuer, size_t issuer_key, X509 *revoked)
{
    aid_crl spec = {.issuer = issuer, .issuer_key = issuer_key, .revoked = {revoked}, .reason = 1};
    return aid_make_crl(&spec);
}

/* As it is, and as an administrator's file. */
static void put_crl(const char *name, X509 *issuer, size_t issuer_key, X509 *revoked)
{
    aid_bytes der = crl_of(issuer, issuer_key, revoked);
    aid_bytes pem = aid_crl_pem(der);
    put("crl", name, der.bytes, der.len);
    put("crl_file", name, der.bytes, der.len);
    put("crl_file", revoked != NULL ? "revoked.pem" : "empty.pem", pem.bytes, pem.len);
}

static void put_text(const char *folder, const char *name, const char *text)
{
    put(folder, name, text, strlen(text));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: seeds DIR\n", stderr);
        return 3;
    }
    dir = argv[1];
    mkdir(dir, 0777);

    const aid_pki *pki = aid_usual_pki();
    put_cert("leaf.der", pki->leaf);
    put_cert("inter.der", pki->inter);
    put_cert("root.der", pki->root);
    BIO *pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, pki->root);
    char *text;
    long text_len = BIO_get_mem_data(pem, &text);
    put(".", "root.pem", text, (size_t)text_len);
    BIO_free(pem);

    for (unsigned char policy = 0; policy < 4; policy++) {
        char name[16];
        snprintf(name, sizeof(name), "good%d", policy);
        put_chain(name, policy, aid_stack(pki->leaf, pki->inter, NULL));
    }
    put_chain("root", 2, aid_stack(pki->leaf, pki->inter, pki->root, NULL));
    put_chain("leaf", 0, aid_stack(pki->leaf, NULL));
    put_chain("misordered", 1, aid_stack(pki->leaf, pki->root, pki->inter, NULL));
    put_chain("extra", 1, aid_stack(pki->leaf, pki->other_root, pki->inter, pki->inter, NULL));

    aid_bytes leaf_good = aid_ocsp_about(pki->leaf, pki->inter, 1, 0);
    aid_bytes leaf_revoked = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    aid_bytes inter_good = aid_ocsp_about(pki->inter, pki->root, 0, 0);
    put(".", "leaf_good.ocsp", leaf_good.bytes, leaf_good.len);
    put(".", "leaf_revoked.ocsp", leaf_revoked.bytes, leaf_revoked.len);
    put(".", "inter_good.ocsp", inter_good.bytes, inter_good.len);
    put("ocsp", "good", leaf_good.bytes, leaf_good.len);
    put("ocsp", "revoked", leaf_revoked.bytes, leaf_revoked.len);
    put("ocsp", "other", inter_good.bytes, inter_good.len);

    put_crl("empty", pki->inter, 1, NULL);
    put_crl("revoked", pki->inter, 1, pki->leaf);
    put_crl("other", pki->root, 0, pki->inter);
    aid_bytes two[] = {aid_crl_pem(crl_of(pki->inter, 1, NULL)),
                       aid_crl_pem(crl_of(pki->root, 0, pki->inter))};
    aid_bytes both = aid_join(two, 2);
    put("crl_file", "two.pem", both.bytes, both.len);

    put_text("http", "length",
             "HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\n"
             "Content-Length: 5\r\n\r\n0\x03\x0a\x01\x01");
    put_text("http", "close", "HTTP/1.1 200 OK\r\n\r\n0\x03\x0a\x01\x01");
    put_text("http", "chunks",
             "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             "2;a=b\r\n0\x03\r\n3\r\n\x0a\x01\x01\r\n0\r\nA: b\r\n\r\n");
    put_text("http", "folded",
             "HTTP/1.1 200 OK\nA: b\n c\nContent-Length: 5, 5\n\n0\x03\x0a\x01\x01");
    put_text("http", "missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    put_text("http", "moved", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n");

    put_text("policy", "soft", "revocation=soft chain_root=require;name=off");
    put_text("policy", "lists", "preset=private fetch_deny=none revocation_sources=ocsp,staple");
    put_text("policy", "numbers",
             "max_chain_len=3 short_lived_s=0 cert_policies=1.2.3,2.5.29.32.0 "
             "ocsp_responder=http://[::1]:8080/x");

    aid_case gap = {.certs = aid_stack(pki->leaf, pki->root, NULL)}, whole = {.policy = ""};
    size_t report_len;
    put_text("report", "gap", stls_result_get0_report(aid_judge(&gap), &report_len));
    put_text("report", "whole", stls_result_get0_report(aid_judge(&whole), &report_len));
    put_text("report", "accept", "text/html;q=0.5, application/json;q=0.4, text/plain");

    unsigned char chances[400];
    for (unsigned int seed = 0; seed < 8; seed++) {
        char name[16];
        for (size_t i = 0; i < sizeof(chances); i++) {
            chances[i] = (unsigned char)((i + 1) * (2 * seed + 37) * 101 >> 3);
        }
        snprintf(name, sizeof(name), "%u", seed);
        put("world", name, chances, sizeof(chances));
    }
    put("own", "whole", "\x00\x0f" LEAF_NAME "\x00\x01\x01", 20);
    put("own", "gap", "\x00\x0f" LEAF_NAME "\x00\x01\x02", 20);
    put("name", "same",
        "\x00\x05"
        "a.b.c"
        "\x00\x06\x02"
        "a.b.c"
        "\x00\x05"
        "a.b.c",
        22);
    put("name", "wildcard",
        "\x00\x05"
        "a.b.c"
        "\x00\x06\x02"
        "*.b.c"
        "\x00\x05"
        "*.b.c",
        22);
    put("name", "address",
        "\x00\x07"
        "1.2.3.4"
        "\x00\x05\x04\x01\x02\x03\x04\x00\x00",
        18);
    put("table", "count", "\x00\x06\x00\x00\xff\xff\xff\xff", 8);

    put("check", "good", "\x00\x01\x01\x05\x01\x0d\x02", 7);
    put("check", "cached", "\x00\x01\x01\x25\x01\x2d\x02", 7);
    put("check", "staple", "\x04\x00\x0c\x01\x00", 5);
    put("check", "revoked", "\x00\x01\x01\x15\x01", 5);
    aid_end(NULL);
    return 0;
}
