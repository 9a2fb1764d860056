/* CRLs walked through once and looked up from then on. */
#include "support_crl.h"

#include <stdlib.h>

#include <openssl/x509v3.h>

#include "crl.h"

static void free_crl(void *thing)
{
    stls_crl_free(thing);
}

static stls_crl *new_crl(aid_bytes bytes, const stls_allocator *allocator)
{
    unsigned char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    AID_NEED(copy);
    memcpy(copy, bytes.bytes, bytes.len);
    return stls_crl_new(allocator, copy, bytes.len, free);
}

/* All the way; `*num_steps` may be NULL. */
static stls_crl_state walk(stls_crl *crl, size_t budget, size_t *num_steps)
{
    stls_crl_state state;
    size_t num = 0;
    do {
        state = stls_crl_step(crl, budget);
        num++;
    } while (state == STLS_CRL_MORE);
    if (num_steps != NULL) {
        *num_steps = num;
    }
    return state;
}

static stls_crl *walked(aid_bytes bytes)
{
    stls_crl *crl = new_crl(bytes, NULL);
    AID_NEED(crl);
    aid_keep(free_crl, crl);
    assert_int_equal(walk(crl, 1 << 20, NULL), STLS_CRL_DONE);
    return crl;
}

static int lists(const stls_crl *crl, const X509 *cert)
{
    stls_crl_entry entry;
    return stls_crl_find(crl, cert, &entry);
}

static X509 *leaf_with_serial(int64_t serial)
{
    aid_cert spec = aid_leaf_spec();
    spec.serial = serial;
    return aid_make_cert(&spec);
}

static void who_is_listed(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_crl *crl = walked(aid_make_crl(&(aid_crl){.revoked = {pki->leaf}, .num_others = 50}));
    (void)state;
    assert_int_equal(lists(crl, pki->leaf), 1);
    assert_int_equal(lists(crl, pki->responder), 0);
    assert_int_equal(stls_crl_num_entries(crl), 51);
    crl = walked(aid_make_crl(&(aid_crl){0}));
    assert_int_equal(lists(crl, pki->leaf), 0);
    assert_int_equal(stls_crl_num_entries(crl), 0);
}

/* The same number by another issuer is another certificate. */
static void serial_of_another_issuer_is_not_listed(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=x", .key = 5, .issuer = pki->root, .issuer_key = 0};
    (void)state;
    spec.serial = 4242;
    stls_crl *crl = walked(aid_make_crl(&(aid_crl){.revoked = {leaf_with_serial(4242)}}));
    assert_int_equal(lists(crl, aid_make_cert(&spec)), 0);
}

/* Neither a prefix of a listed serial nor one that it is a prefix of is listed, nor its negative.
 */
static void trap_1_serials_are_compared_whole(void **state)
{
    static const int64_t others[] = {0x12, 0x123456, 0x345, 0x2345, 0x1234, -0x12345, 0x12344};
    (void)state;
    X509 *listed = leaf_with_serial(0x12345);
    stls_crl *crl = walked(aid_make_crl(&(aid_crl){.revoked = {listed}}));
    assert_int_equal(lists(crl, listed), 1);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(lists(crl, leaf_with_serial(others[i])), 0);
    }
}

static void entry_carries_time_and_reason(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_crl_entry entry;
    (void)state;
    stls_crl *crl = walked(aid_make_crl(&(aid_crl){.revoked = {pki->leaf}, .reason = 4}));
    assert_int_equal(stls_crl_find(crl, pki->leaf, &entry), 1);
    assert_int_equal(entry.reason, 4);
    assert_int_equal(entry.revoked_at_s, NOW_S - HOUR_S);
    crl = walked(aid_make_crl(&(aid_crl){.revoked = {pki->leaf}}));
    assert_int_equal(stls_crl_find(crl, pki->leaf, &entry), 1);
    assert_int_equal(entry.reason, -1);
}

static void times(void **state)
{
    (void)state;
    stls_crl *crl = walked(
        aid_make_crl(&(aid_crl){.this_update_s = NOW_S - 7, .next_update_s = NOW_S + 9}));
    assert_int_equal(stls_crl_this_update_s(crl), NOW_S - 7);
    assert_int_equal(crl->next_update_s, NOW_S + 9);
    crl = walked(aid_make_crl(&(aid_crl){.next_update_s = -1}));
    assert_int_equal(crl->next_update_s, 0);
}

static void steps_of_any_size_come_to_the_same(void **state)
{
    static const size_t budgets[] = {1, 2, 13, 64, 1000, SIZE_MAX / 2};
    const aid_pki *pki = aid_usual_pki();
    aid_bytes bytes = aid_make_crl(&(aid_crl){.revoked = {pki->leaf}, .num_others = 40});
    unsigned char id[STLS_ID_LEN], first[STLS_ID_LEN];
    (void)state;
    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        stls_crl *crl = new_crl(bytes, NULL);
        assert_int_equal(stls_crl_find(crl, pki->leaf, &(stls_crl_entry){0}), -1); /* not yet */
        assert_int_equal(walk(crl, budgets[i], NULL), STLS_CRL_DONE);
        assert_int_equal(stls_crl_step(crl, 1), STLS_CRL_DONE); /* and stays so */
        assert_int_equal(lists(crl, pki->leaf), 1);
        assert_int_equal(lists(crl, pki->responder), 0);
        assert_int_equal(stls_crl_id(crl, i == 0 ? first : id), STLS_OK);
        assert_true(i == 0 || memcmp(first, id, sizeof(id)) == 0);
        stls_crl_free(crl);
    }
}

static void whatever_is_cut_off_or_hung_on_is_refused(void **state)
{
    aid_bytes whole = aid_make_crl(&(aid_crl){.revoked = {aid_usual_pki()->leaf}, .reason = 1});
    (void)state;
    for (size_t len = 0; len < whole.len; len++) {
        stls_crl *crl = new_crl((aid_bytes){whole.bytes, len}, NULL);
        if (walk(crl, 1 << 20, NULL) != STLS_CRL_FAILED) {
            fail_msg("%zu of %zu bytes are taken", len, whole.len);
        }
        assert_int_equal(stls_crl_step(crl, 1 << 20), STLS_CRL_FAILED);
        stls_crl_free(crl);
    }
    unsigned char *longer = calloc(1, whole.len + 1);
    memcpy(longer, whole.bytes, whole.len);
    stls_crl *crl = stls_crl_new(NULL, longer, whole.len + 1, free);
    assert_int_equal(walk(crl, 1 << 20, NULL), STLS_CRL_FAILED);
    assert_false(stls_crl_lacks_memory(crl));
    stls_crl_free(crl);
}

/* Where a flipped bit is not refused outright, the signature no longer fits: see the digest. */
static void no_flipped_bit_goes_unnoticed(void **state)
{
    aid_bytes whole = aid_make_crl(&(aid_crl){.revoked = {aid_usual_pki()->leaf}, .reason = 1});
    stls_crl *good = walked(whole);
    (void)state;
    for (size_t i = 0; i < good->tbs + good->tbs_len; i++) {
        whole.bytes[i] ^= 4;
        stls_crl *crl = new_crl(whole, NULL);
        if (walk(crl, 1 << 20, NULL) == STLS_CRL_DONE
            && memcmp(crl->digest, good->digest, 32) == 0) {
            fail_msg("byte %zu", i);
        }
        stls_crl_free(crl);
        whole.bytes[i] ^= 4;
    }
}

static void unknown_extensions(void **state)
{
    (void)state;
    assert_true(walked(aid_make_crl(&(aid_crl){.extension = "critical,DER:0500"}))->is_unusable);
    assert_false(walked(aid_make_crl(&(aid_crl){.extension = "DER:0500"}))->is_unusable);
}

/* ---- extensions of entries ------------------------------------------------------------------ */

typedef struct {
    const char *oid, *value; /* hexadecimal */
    int is_critical;
} entry_extension;

static entry_extension shape_extensions[2];

static void shape_entry(X509_CRL *crl)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)(NOW_S - HOUR_S));
    AID_NEED(entry && date
             && X509_REVOKED_set_serialNumber(
                 entry, (ASN1_INTEGER *)X509_get0_serialNumber(aid_usual_pki()->leaf))
             && X509_REVOKED_set_revocationDate(entry, date));
    for (size_t i = 0; i < 2 && shape_extensions[i].oid != NULL; i++) {
        long len = 0;
        int is_empty = shape_extensions[i].value[0] == '\0';
        unsigned char *value = is_empty ? OPENSSL_zalloc(1)
                                        : OPENSSL_hexstr2buf(shape_extensions[i].value, &len);
        ASN1_OBJECT *oid = OBJ_txt2obj(shape_extensions[i].oid, 1);
        ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
        AID_NEED(value && oid && octets && ASN1_OCTET_STRING_set(octets, value, (int)len));
        X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(
            NULL, oid, shape_extensions[i].is_critical, octets);
        AID_NEED(extension && X509_REVOKED_add_ext(entry, extension, -1));
        X509_EXTENSION_free(extension);
        ASN1_OCTET_STRING_free(octets);
        ASN1_OBJECT_free(oid);
        OPENSSL_free(value);
    }
    AID_NEED(X509_CRL_add0_revoked(crl, entry));
    ASN1_TIME_free(date);
}

/* Only what is known is looked into; an unknown one counts where it is critical. */
static void trap_13_extensions_of_entries(void **state)
{
#define UNKNOWN "1.2.3.4.5"
#define REASON "2.5.29.21"
#define ISSUER "2.5.29.29"
#define DATE "2.5.29.24"
    static const struct {
        const char *what;
        entry_extension extensions[2];
        int is_taken, is_unusable, reason;
    } rows[] = {
        {"none", {{NULL, NULL, 0}}, 1, 0, -1},
        {"unknown", {{UNKNOWN, "0500", 0}}, 1, 0, -1},
        {"unknown, critical", {{UNKNOWN, "0500", 1}}, 1, 1, -1},
        {"unknown, empty", {{UNKNOWN, "", 0}}, 1, 0, -1},
        {"unknown, an application tag", {{UNKNOWN, "4100", 0}}, 1, 0, -1},
        {"unknown, a private tag", {{UNKNOWN, "C100", 0}}, 1, 0, -1},
        {"unknown, a high tag", {{UNKNOWN, "1F8101", 0}}, 1, 0, -1},
        {"unknown, an indefinite length", {{UNKNOWN, "30800000", 0}}, 1, 0, -1},
        {"unknown, two elements", {{UNKNOWN, "05000500", 0}}, 1, 0, -1},
        {"unknown, cut off", {{UNKNOWN, "3005", 0}}, 1, 0, -1},
        {"unknown, text", {{UNKNOWN, "68656C6C6F", 0}}, 1, 0, -1},
        {"unknown, twice", {{UNKNOWN, "0500", 0}, {UNKNOWN, "41", 0}}, 1, 0, -1},
        {"invalidity date, of anything", {{DATE, "41", 0}}, 1, 0, -1},
        {"reason", {{REASON, "0A0101", 0}}, 1, 0, 1},
        {"reason, critical", {{REASON, "0A0101", 1}}, 1, 0, 1},
        {"reason, of two bytes", {{REASON, "0A020101", 0}}, 1, 0, -1},
        {"reason, no enumeration", {{REASON, "020101", 0}}, 1, 0, -1},
        {"reason behind an unknown one", {{UNKNOWN, "4100", 0}, {REASON, "0A0104", 0}}, 1, 0, 4},
        {"reason, two elements", {{REASON, "0A01010A0101", 0}}, 0, 0, 0},
        {"reason, twice", {{REASON, "0A0101", 0}, {REASON, "0A0106", 0}}, 0, 0, 0},
        {"issuer, cut off", {{ISSUER, "3005", 1}}, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_crl_entry entry;
        memcpy(shape_extensions, rows[i].extensions, sizeof(shape_extensions));
        stls_crl *crl = new_crl(aid_make_crl(&(aid_crl){.shape = shape_entry}), NULL);
        int is_taken = walk(crl, 64, NULL) == STLS_CRL_DONE;
        if (is_taken != rows[i].is_taken) {
            fail_msg("%s: taken %d", rows[i].what, is_taken);
        }
        if (is_taken) {
            assert_int_equal(crl->is_unusable, rows[i].is_unusable);
            assert_int_equal(stls_crl_find(crl, aid_usual_pki()->leaf, &entry), 1);
            assert_int_equal(entry.reason, rows[i].reason);
        }
        stls_crl_free(crl);
    }
}

/* ---- what only a malformed CRL has ------------------------------------------------------------ */

static int is_taken(aid_bytes bytes)
{
    stls_crl *crl = new_crl(bytes, NULL);
    int taken = walk(crl, 1 << 20, NULL) == STLS_CRL_DONE;
    stls_crl_free(crl);
    return taken;
}

/* The last or the only place where these bytes lie. */
static unsigned char *find_bytes(aid_bytes in, const unsigned char *what, size_t len, int last)
{
    unsigned char *found = NULL;
    for (size_t i = 0; i + len <= in.len && (found == NULL || last); i++) {
        if (memcmp(in.bytes + i, what, len) == 0) {
            found = in.bytes + i;
        }
    }
    AID_NEED(found);
    return found;
}

/* RFC 5280 section 5.1.1.2 */
static void inner_and_outer_algorithm(void **state)
{
    static const unsigned char with_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    (void)state;
    for (int outer = 0; outer < 2; outer++) {
        aid_bytes bytes = aid_make_crl(&(aid_crl){0});
        assert_true(is_taken(bytes));
        find_bytes(bytes, with_sha256, sizeof(with_sha256), outer)[7] = 3; /* with SHA-384 */
        assert_false(is_taken(bytes));
    }
}

static int twice_nid;

static void shape_twice(X509_CRL *crl)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    AID_NEED(number && ASN1_INTEGER_set_int64(number, 7));
    for (int i = 0; i < 2; i++) {
        X509_EXTENSION *extension = X509V3_EXT_i2d(twice_nid, twice_nid == NID_delta_crl, number);
        AID_NEED(extension && X509_CRL_add_ext(crl, extension, -1));
        X509_EXTENSION_free(extension);
    }
    ASN1_INTEGER_free(number);
}

/* RFC 5280 section 4.2 */
static void an_extension_twice(void **state)
{
    static const int nids[] = {NID_crl_number, NID_delta_crl};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        twice_nid = nids[i];
        assert_false(is_taken(aid_make_crl(&(aid_crl){.shape = shape_twice})));
    }
}

/* X.690 section 8.3.2: of two forms of one number only one is DER, and look-ups compare bytes. */
static void serials_with_padding(void **state)
{
    static const struct {
        int64_t serial;
        unsigned char der[4], padded[4];
    } rows[] = {
        {0x92, {0x02, 0x02, 0x00, 0x92}, {0x02, 0x02, 0x00, 0x12}},
        {-0xee, {0x02, 0x02, 0xff, 0x12}, {0x02, 0x02, 0xff, 0x92}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_bytes bytes = aid_make_crl(&(aid_crl){.revoked = {leaf_with_serial(rows[i].serial)}});
        assert_true(is_taken(bytes));
        memcpy(find_bytes(bytes, rows[i].der, 4, 0), rows[i].padded, 4);
        assert_false(is_taken(bytes));
    }
}

/* An entry whose issuer cannot be told may be about anybody: not "is not listed". */
static void trap_13_entries_of_unknown_issuers(void **state)
{
    unsigned char *own = NULL;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    X509_NAME *issuer = X509_NAME_dup(X509_get_subject_name(aid_usual_pki()->inter));
    (void)state;
    AID_NEED(names && name && issuer);
    GENERAL_NAME_set0_value(name, GEN_DIRNAME, issuer);
    AID_NEED(sk_GENERAL_NAME_push(names, name));
    int own_len = i2d_GENERAL_NAMES(names, &own);
    AID_NEED(own_len > 0);
    char own_text[400];
    AID_NEED(OPENSSL_buf2hexstr_ex(own_text, sizeof(own_text), NULL, own, (size_t)own_len, '\0'));
    const struct {
        const char *what, *names;
        int found;
    } rows[] = {
        {"the certificate's", own_text, 1},
        {"another's", "3013A411300F310D300B06035504030C0446726564", 0},
        {"a URL", "300486026162", -1},
        {"nobody", "3000", -1},
        {"no list", "0500", -1},
        {"a name that is none", "3003A40130", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        shape_extensions[0] = (entry_extension){ISSUER, rows[i].names, 1};
        shape_extensions[1] = (entry_extension){NULL, NULL, 0};
        stls_crl *crl = walked(aid_make_crl(&(aid_crl){.shape = shape_entry}));
        stls_crl_entry entry;
        if (stls_crl_find(crl, aid_usual_pki()->leaf, &entry) != rows[i].found) {
            fail_msg("%s: not %d", rows[i].what, rows[i].found);
        }
    }
    OPENSSL_free(own);
    GENERAL_NAMES_free(names);
}

static const entry_extension *listed_as;

static void shape_entries(X509_CRL *crl)
{
    for (size_t i = 0; i < 2; i++) {
        shape_extensions[0] = listed_as[i];
        shape_extensions[1] = (entry_extension){NULL, NULL, 0};
        shape_entry(crl);
    }
}

/* Listed twice: what is hardest to lift counts, in either order. */
static void trap_13_listed_twice(void **state)
{
    const entry_extension none = {NULL, NULL, 0}, compromise = {REASON, "0A0101", 0};
    const entry_extension hold = {REASON, "0A0106", 0}, removed = {REASON, "0A0108", 0};
    const entry_extension anybody = {ISSUER, "0500", 1};
    const struct {
        entry_extension entries[2];
        int found, reason;
    } rows[] = {
        {{hold, compromise}, 1, 1},    {{removed, compromise}, 1, 1}, {{none, compromise}, 1, 1},
        {{removed, hold}, 1, 6},       {{none, hold}, 1, -1},         {{removed, removed}, 1, 8},
        {{compromise, anybody}, 1, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t k = 0; k < 2; k++) {
            const entry_extension order[] = {rows[i].entries[k], rows[i].entries[1 - k]};
            stls_crl_entry entry = {0, -1};
            if (order[0].value == anybody.value) {
                continue; /* what comes behind it would be of that issuer, too */
            }
            listed_as = order;
            stls_crl *crl = walked(aid_make_crl(&(aid_crl){.shape = shape_entries}));
            assert_int_equal(stls_crl_find(crl, aid_usual_pki()->leaf, &entry), rows[i].found);
            assert_int_equal(entry.reason, rows[i].reason);
        }
    }
}

/* Tens of megabytes: no step does more than its share, memory is as documented, look-ups are exact.
 */
static void trap_14_large_crls(void **state)
{
    const size_t num = 20000, budget = 4096;
    const aid_pki *pki = aid_usual_pki();
    aid_bytes bytes = aid_make_crl(&(aid_crl){.revoked = {pki->leaf}, .num_others = num});
    size_t num_steps, der_len;
    (void)state;
    stls_crl *crl = new_crl(bytes, NULL);
    assert_int_equal(walk(crl, budget, &num_steps), STLS_CRL_DONE);
    assert_true(num_steps >= 3 * bytes.len / budget); /* hashed, counted and entered */
    assert_int_equal(stls_crl_num_entries(crl), num + 1);
    assert_int_equal(lists(crl, pki->leaf), 1);
    assert_int_equal(lists(crl, pki->responder), 0);
    /* The bytes as they came, and at most twelve for an entry: offsets, at least a third free. */
    assert_ptr_not_equal(stls_crl_get0_der(crl, &der_len), NULL);
    assert_int_equal(der_len, bytes.len);
    assert_true(stls_crl_memory_len(crl) < bytes.len + 12 * num + 4096);
    stls_crl_free(crl);
}

static void references_are_counted(void **state)
{
    stls_crl *crl = new_crl(aid_make_crl(&(aid_crl){0}), NULL);
    (void)state;
    assert_int_equal(walk(crl, 1000, NULL), STLS_CRL_DONE);
    assert_ptr_equal(stls_crl_up_ref(crl), crl);
    stls_crl_free(crl);
    assert_int_equal(stls_crl_num_entries(crl), 0);
    stls_crl_free(crl);
    stls_crl_free(NULL);
}

static void out_of_memory(void **state)
{
    aid_bytes bytes = aid_make_crl(&(aid_crl){.revoked = {aid_usual_pki()->leaf}});
    aid_heap healthy = {0};
    stls_allocator allocator = aid_allocator(&healthy);
    (void)state;
    stls_crl *crl = new_crl(bytes, &allocator);
    assert_int_equal(walk(crl, 1000, NULL), STLS_CRL_DONE);
    stls_crl_free(crl);
    assert_int_equal(healthy.num_live, 0);
    assert_true(healthy.num_allocs >= 2);
    for (size_t n = 1; n <= healthy.num_allocs; n++) {
        aid_heap heap = {.fail_at = n};
        allocator = aid_allocator(&heap);
        crl = new_crl(bytes, &allocator);
        assert_true(crl == NULL || walk(crl, 1000, NULL) == STLS_CRL_FAILED);
        assert_true(crl == NULL || stls_crl_lacks_memory(crl));
        stls_crl_free(crl);
        assert_int_equal(heap.num_live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_listed),
        cmocka_unit_test(serial_of_another_issuer_is_not_listed),
        cmocka_unit_test(trap_1_serials_are_compared_whole),
        cmocka_unit_test(entry_carries_time_and_reason),
        cmocka_unit_test(times),
        cmocka_unit_test(steps_of_any_size_come_to_the_same),
        cmocka_unit_test(whatever_is_cut_off_or_hung_on_is_refused),
        cmocka_unit_test(no_flipped_bit_goes_unnoticed),
        cmocka_unit_test(unknown_extensions),
        cmocka_unit_test(trap_13_extensions_of_entries),
        cmocka_unit_test(inner_and_outer_algorithm),
        cmocka_unit_test(an_extension_twice),
        cmocka_unit_test(serials_with_padding),
        cmocka_unit_test(trap_13_entries_of_unknown_issuers),
        cmocka_unit_test(trap_13_listed_twice),
        cmocka_unit_test(trap_14_large_crls),
        cmocka_unit_test(references_are_counted),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("crl", tests, NULL, aid_end);
}
