/* The diagnosis: one JSON object, filled step by step (docs/doctor.md). */
#include <string.h>
#include <time.h>

#include "doctor.h"

json_t *doctor_diagnosis_new(const char *kind)
{
    return json_pack("{s:i, s:s, s:s, s:n, s:I, s:s, s:i, s:s, s:n, s:n, s:n, s:n, s:n, s:n, s:[], "
                     "s:n, s:n, s:n, s:[]}",
                     "version", 1, "strict_tls_version", STLS_VERSION, "kind", kind, "target",
                     "checked_at_s", (json_int_t)time(NULL), "verdict", "unknown", "exit_code",
                     DOCTOR_ACCEPT, "reason", "none", "text", "detail", "who", "remedy",
                     "connection", "lenient", "chain", "strict", "repair", "client", "problems");
}

/* A reject is worse than not to know, which is worse than an accept. */
static void worsen(json_t *diagnosis, int exit_code)
{
    int now = doctor_diagnosis_exit(diagnosis);
    if (now == DOCTOR_ACCEPT || exit_code == DOCTOR_REJECT) {
        json_object_set_new(diagnosis, "exit_code", json_integer(exit_code));
    }
}

int doctor_diagnosis_exit(const json_t *diagnosis)
{
    int64_t code = doctor_int(diagnosis, "exit_code");
    return code >= DOCTOR_ACCEPT && code <= DOCTOR_USAGE ? (int)code : DOCTOR_UNKNOWN;
}

void doctor_diagnosis_problem(json_t *diagnosis, const char *id, int exit_code, const char *who,
                              const char *detail, const char *remedy)
{
    if (exit_code != DOCTOR_ACCEPT) {
        worsen(diagnosis, exit_code);
    }
    json_array_append_new(json_object_get(diagnosis, "problems"),
                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "severity",
                                    exit_code == DOCTOR_ACCEPT ? "note" : "error", "detail", detail,
                                    "who", who, "remedy", remedy));
}

static const char *who_of(const char *id)
{
    size_t num;
    const stls_reason_info *reasons = stls_reasons(&num);
    for (size_t i = 0; i < num; i++) {
        if (strcmp(reasons[i].id, id) == 0) {
            return reasons[i].who;
        }
    }
    return "";
}

/* The finding that made the primary reason comes to the top. */
static void lift_primary(json_t *diagnosis, const json_t *report)
{
    size_t i;
    json_t *finding;
    const char *reason = doctor_str(report, "reason");

    json_object_set_new(diagnosis, "reason", json_string(reason));
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        if (strcmp(doctor_str(finding, "reason"), reason) == 0
            && strcmp(doctor_str(finding, "severity"), "error") == 0) {
            json_object_set(diagnosis, "text", json_object_get(finding, "text"));
            json_object_set(diagnosis, "detail", json_object_get(finding, "detail"));
            json_object_set(diagnosis, "remedy", json_object_get(finding, "remedy"));
            json_object_set_new(diagnosis, "who", json_string(who_of(reason)));
            return;
        }
    }
}

static json_t *lines(const char *text)
{
    json_t *out = json_array();
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        json_array_append_new(out, json_stringn(text, len));
        text += len + (text[len] == '\n');
    }
    return out;
}

/* Whether a better chain can be served is worth a look whenever the chain is at fault. */
static void try_repair(json_t *diagnosis, const doctor_trust *trust, const doctor_peer *peer,
                       int online, doctor_repaired *repaired)
{
    const char *reason = doctor_str(diagnosis, "reason");

    memset(repaired, 0, sizeof(*repaired));
    if (strncmp(reason, "chain.", 6) != 0) {
        return;
    }
    doctor_repair(repaired, trust, peer, online);
    int is_possible = repaired->chain != NULL && repaired->changes[0] != '\0';
    json_object_set_new(
        diagnosis, "repair",
        json_pack("{s:b, s:n, s:o, s:o}", "possible", is_possible, "command", "changes",
                  lines(is_possible ? repaired->changes : ""), "detail",
                  repaired->chain == NULL ? json_string(repaired->err.text) : json_null()));
}

void doctor_diagnosis_judge(json_t *diagnosis, const doctor_trust *trust, const doctor_peer *peer,
                            int online)
{
    doctor_repaired repaired;
    stls_result *result = doctor_judge(trust, peer);
    size_t len = 0;
    const char *text = result != NULL ? stls_result_get0_report(result, &len) : NULL;
    json_t *report = text != NULL ? json_loadb(text, len, 0, NULL) : NULL;

    if (report == NULL) {
        doctor_diagnosis_problem(diagnosis, "internal", DOCTOR_UNKNOWN, "you",
                                 "the check could not be carried out: out of memory?",
                                 "give the process more memory");
        stls_result_free(result);
        return;
    }
    if (stls_result_verdict(result) != STLS_ACCEPT) {
        worsen(diagnosis, DOCTOR_REJECT);
    }
    lift_primary(diagnosis, report);
    if (peer->message != NULL) {
        /* There is nothing to verify, to repair or to draw. */
        json_object_set_new(diagnosis, "lenient",
                            json_pack("{s:s, s:s}", "verdict", "reject", "detail",
                                      "a certificate cannot be decoded"));
        json_object_set_new(diagnosis, "strict", report);
        stls_result_free(result);
        return;
    }
    if (peer->role == STLS_ROLE_SERVER) {
        json_object_set_new(diagnosis, "lenient", doctor_lenient(trust, peer->certs, peer->name));
    }
    try_repair(diagnosis, trust, peer, online, &repaired);
    json_object_set_new(diagnosis, "chain",
                        doctor_chain(trust, peer->certs, repaired.chain, report));
    json_object_set_new(diagnosis, "strict", report);
    doctor_repaired_free(&repaired);
    stls_result_free(result);
}

void doctor_diagnosis_finish(json_t *diagnosis)
{
    static const char *const words[] = {"accept", "reject", "unknown", "unknown"};
    json_object_set_new(diagnosis, "verdict", json_string(words[doctor_diagnosis_exit(diagnosis)]));
}

const char *doctor_first_problem(const json_t *diagnosis, const char *key)
{
    size_t i;
    json_t *problem;
    json_array_foreach (json_object_get(diagnosis, "problems"), i, problem) {
        if (strcmp(doctor_str(problem, "severity"), "error") == 0) {
            return doctor_str(problem, key);
        }
    }
    return "";
}
