/* Many hosts, checked side by side, and one host again and again. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <unistd.h>

#include "doctor.h"

static atomic_int is_stopped; /* lock-free, so a signal handler may set it */

static void stop(int number)
{
    (void)number;
    is_stopped = 1;
}

/* The first signal ends in order, the second at once. */
static void watch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = stop;
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the list ------------------------------------------------------------------- */

typedef struct {
    const doctor_context *context;
    char **hosts;
    size_t num, cap;
    atomic_size_t next;
    /* below: under the lock */
    pthread_mutex_t lock;
    size_t num_done, num_by_exit[3];
    int shows_progress;
    struct timespec shown_at;
    json_t *page; /* NULL: none wanted */
} list;

static int add_host(list *all, const char *line, size_t len)
{
    if (all->num == all->cap) {
        size_t cap = all->cap > 0 ? all->cap * 2 : 64;
        char **grown = realloc(all->hosts, cap * sizeof(*grown));
        if (grown == NULL) {
            return 0;
        }
        all->hosts = grown;
        all->cap = cap;
    }
    all->hosts[all->num] = strndup(line, len);
    return all->hosts[all->num] != NULL && ++all->num;
}

/* An endpoint per line; blanks around it and comments behind # do not count. */
static int read_hosts(list *all, FILE *file)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t got;
    int ok = 1;

    while (ok && (got = getline(&line, &cap, file)) >= 0) {
        for (ssize_t i = 0; i < got; i++) {
            line[i] = line[i] == '\0' ? '?' : line[i];
        }
        char *begin = line + strspn(line, " \t\r\n");
        size_t len = strcspn(begin, "#\r\n");
        while (len > 0 && (begin[len - 1] == ' ' || begin[len - 1] == '\t')) {
            len--;
        }
        if (len > 0) {
            ok = add_host(all, begin, len);
        }
    }
    free(line);
    return ok && !ferror(file);
}

static int load_hosts(list *all, const char *path)
{
    int is_stdin = strcmp(path, "-") == 0;
    char plain[DOCTOR_TEXT_LEN];
    FILE *file = is_stdin ? stdin : fopen(path, "r");

    snprintf(plain, sizeof(plain), "%s", path);
    doctor_plain(plain);
    int ok = file != NULL && read_hosts(all, file);
    if (!ok) {
        fprintf(stderr, "strict-tls: %s: %s\n", plain, strerror(errno));
    } else if (all->num == 0) {
        fprintf(stderr, "strict-tls: %s: there is no host in it\n", plain);
        ok = 0;
    }
    if (file != NULL && !is_stdin) {
        fclose(file);
    }
    return ok;
}

static void show_progress(list *all, int is_last)
{
    struct timespec now;
    if (!all->shows_progress) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t since_ms = (int64_t)(now.tv_sec - all->shown_at.tv_sec) * 1000
                       + (now.tv_nsec - all->shown_at.tv_nsec) / 1000000;
    if (since_ms >= 100 || is_last) {
        all->shown_at = now;
        fprintf(stderr, "\r\x1b[K%zu of %zu checked: %zu accept, %zu reject, %zu unknown%s",
                all->num_done, all->num, all->num_by_exit[0], all->num_by_exit[1],
                all->num_by_exit[2], is_last ? "\n" : "");
        fflush(stderr);
    }
}

static void note_done(list *all, size_t at, json_t *diagnosis)
{
    int exit_code = doctor_diagnosis_exit(diagnosis);

    pthread_mutex_lock(&all->lock);
    all->num_done++;
    all->num_by_exit[exit_code <= DOCTOR_UNKNOWN ? exit_code : DOCTOR_UNKNOWN]++;
    if (all->shows_progress) {
        fputs("\r\x1b[K", stderr);
    }
    doctor_show(all->context, diagnosis, 1);
    fflush(stdout);
    if (all->page != NULL) {
        json_array_set(all->page, at, diagnosis);
    }
    show_progress(all, 0);
    pthread_mutex_unlock(&all->lock);
}

/* HOST[:PORT] [NAME]; more words than that make a host that is none. */
static json_t *check_line(const doctor_context *context, const char *line)
{
    char host[800];
    size_t len = strcspn(line, " \t");
    const char *name = line + len + strspn(line + len, " \t");

    if (name[0] == '\0' || name[strcspn(name, " \t")] != '\0' || len >= sizeof(host)) {
        return doctor_check(context, line, NULL);
    }
    snprintf(host, sizeof(host), "%.*s", (int)len, line);
    return doctor_check(context, host, name);
}

static void *work(void *arg)
{
    list *all = arg;
    while (!is_stopped) {
        size_t at = atomic_fetch_add(&all->next, 1);
        if (at >= all->num) {
            break;
        }
        json_t *diagnosis = check_line(all->context, all->hosts[at]);
        note_done(all, at, diagnosis);
        json_decref(diagnosis);
    }
    return NULL;
}

static void run_workers(list *all, size_t num_workers)
{
    pthread_t *threads = calloc(num_workers, sizeof(*threads));
    size_t started = 0;

    while (threads != NULL && started < num_workers
           && pthread_create(&threads[started], NULL, work, all) == 0) {
        started++;
    }
    if (started == 0) {
        work(all);
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    free(threads);
}

static int list_exit(const list *all)
{
    if (all->num_by_exit[DOCTOR_REJECT] > 0) {
        return DOCTOR_REJECT;
    }
    return all->num_by_exit[DOCTOR_UNKNOWN] > 0 || all->num_done < all->num ? DOCTOR_UNKNOWN
                                                                            : DOCTOR_ACCEPT;
}

static int finish_list(list *all)
{
    const doctor_options *options = all->context->options;

    show_progress(all, 1);
    if (options->quiet == NULL && options->json == NULL && !all->shows_progress) {
        fprintf(stderr, "%zu of %zu checked: %zu accept, %zu reject, %zu unknown\n", all->num_done,
                all->num, all->num_by_exit[0], all->num_by_exit[1], all->num_by_exit[2]);
    }
    int exit_code = doctor_flush(list_exit(all));
    return all->page != NULL ? doctor_page(all->context, all->page, exit_code) : exit_code;
}

int doctor_run_list(doctor_context *context)
{
    const doctor_options *options = context->options;
    int exit_code = DOCTOR_USAGE;
    list all;

    memset(&all, 0, sizeof(all));
    long parallel = doctor_number("--parallel", options->parallel, 1, 256, 16);
    /* A worker has at most one fetch in flight. */
    long max_fetches = (long)stls_policy_get_int(context->trust.policy,
                                                 STLS_KEY_MAX_FETCHES_IN_FLIGHT);
    parallel = parallel < max_fetches ? parallel : max_fetches;
    all.context = context;
    if (parallel > 0 && load_hosts(&all, options->hosts)) {
        pthread_mutex_init(&all.lock, NULL);
        all.shows_progress = options->quiet == NULL && isatty(STDERR_FILENO);
        all.page = options->html != NULL ? json_array() : NULL;
        for (size_t i = 0; all.page != NULL && i < all.num; i++) {
            json_array_append_new(all.page, json_null()); /* in the list's order, not as they end */
        }
        watch_signals();
        run_workers(&all, (size_t)parallel < all.num ? (size_t)parallel : all.num);
        exit_code = finish_list(&all);
        json_decref(all.page);
        pthread_mutex_destroy(&all.lock);
    }
    for (size_t i = 0; i < all.num; i++) {
        free(all.hosts[i]);
    }
    free(all.hosts);
    return exit_code;
}

/* ---- again and again ----------------------------------------------------------------- */

/* What makes a change worth a whole page of output. A problem's words may tell milliseconds. */
static int differs(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"verdict", "reason", "chain", "lenient"};
    const json_t *ours = json_object_get(a, "problems"), *theirs = json_object_get(b, "problems");
    int is_different = json_array_size(ours) != json_array_size(theirs);

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        is_different |= !json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i]));
    }
    for (size_t i = 0; i < json_array_size(ours) && !is_different; i++) {
        is_different = strcmp(doctor_str(json_array_get(ours, i), "id"),
                              doctor_str(json_array_get(theirs, i), "id"))
                       != 0;
    }
    return is_different;
}

static void show_round(const doctor_context *context, const json_t *diagnosis, const json_t *before)
{
    const doctor_options *options = context->options;
    char date[32];

    if (options->quiet == NULL && options->json == NULL) {
        doctor_date(doctor_int(diagnosis, "checked_at_s"), date);
        printf("%s%s  ", before != NULL && differs(diagnosis, before) ? "\n" : "", date);
    }
    doctor_show(context, diagnosis, before != NULL && !differs(diagnosis, before));
}

int doctor_run_watch(doctor_context *context)
{
    const doctor_options *options = context->options;
    doctor_target target;
    stls_error err = {""};
    json_t *before = NULL;
    int exit_code = DOCTOR_UNKNOWN;
    long interval_s = doctor_number("--interval", options->interval, 0, 86400, 60);
    long rounds = doctor_number("--rounds", options->rounds, 1, 1000000000, 0);

    if (interval_s < 0 || rounds < 0) {
        return DOCTOR_USAGE;
    }
    if (!doctor_target_parse(&target, options, options->args[0], NULL, &err)) {
        fprintf(stderr, "strict-tls: %s\n", err.text);
        return DOCTOR_USAGE;
    }
    watch_signals();
    for (long round = 1; !is_stopped; round++) {
        json_t *diagnosis = doctor_check(context, options->args[0], NULL);
        show_round(context, diagnosis, before);
        json_decref(before);
        before = diagnosis;
        json_t *page = json_pack("[O]", diagnosis);
        exit_code = doctor_page(context, page, doctor_flush(doctor_diagnosis_exit(diagnosis)));
        json_decref(page);
        if (ferror(stdout) || (rounds > 0 && round >= rounds)) {
            break;
        }
        /* A signal ends the pause. */
        const struct timespec pause = {interval_s, 0};
        nanosleep(&pause, NULL);
    }
    json_decref(before);
    return exit_code;
}
