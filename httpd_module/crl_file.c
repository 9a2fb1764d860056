/*
 * StrictTLSCRLFile: read with the configuration, hence once for all children,
 * and by each child again when the file has changed, which is looked for once a
 * second.
 */
#include "mod_strict_tls.h"

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <http_main.h>

#define LOOK APR_FINFO_MTIME | APR_FINFO_CTIME | APR_FINFO_SIZE | APR_FINFO_IDENT | APR_FINFO_TYPE

struct mst_crl_file {
    const char *path;
    stls_crl_file *file;
    apr_finfo_t seen; /* of the latest attempt */
    apr_time_t looked_s;
    int is_busy; /* a thread is at it */
    int is_unread; /* the latest attempt did not come to its bytes */
};

static apr_pool_t *conf_pool;
static apr_hash_t *files; /* by path; nothing is added once the configuration is read */
static apr_thread_mutex_t *mutex;

static apr_status_t drop_files(void *data)
{
    apr_hash_index_t *i;

    (void) data;
    for (i = apr_hash_first(NULL, files); i; i = apr_hash_next(i)) {
        mst_crl_file *f = apr_hash_this_val(i);

        stls_crl_file_free(f->file);
        f->file = NULL;
    }
    files = NULL;
    return APR_SUCCESS;
}

void mst_crl_file_pre_config(apr_pool_t *pconf)
{
    conf_pool = pconf;
    files = apr_hash_make(pconf);
    apr_pool_cleanup_register(pconf, NULL, drop_files, apr_pool_cleanup_null);
}

void mst_crl_file_child_init(apr_pool_t *p)
{
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p);
}

/* `*is_unread`: want of memory, which will pass, is why it could not be. */
static stls_crl_file *decode(unsigned char *bytes, apr_size_t len, stls_error *err, int *is_unread)
{
    stls_crl_file *file = stls_crl_file_new(NULL, bytes, len, free);
    stls_crl_state state = STLS_CRL_FAILED;

    *is_unread = file == NULL;
    if (file == NULL) {
        apr_cpystrn(err->text, "out of memory", sizeof(err->text));
        return NULL;
    }
    do {
        state = stls_crl_file_step(file, 1024 * 1024, err);
    } while (state == STLS_CRL_MORE);
    ERR_clear_error();
    if (state != STLS_CRL_DONE) {
        *is_unread = stls_crl_file_lacks_memory(file);
        stls_crl_file_free(file);
        return NULL;
    }
    return file;
}

/*
 * What the file holds, or NULL and why. `*seen` is what it looked like; its bytes may have been
 * out of reach (`*is_unread`) for a reason that will pass.
 */
static stls_crl_file *read_file(const char *path, apr_finfo_t *seen, apr_pool_t *pool,
                                stls_error *err, int *is_unread)
{
    unsigned char *bytes;
    apr_file_t *handle;
    apr_size_t len;
    apr_status_t rv;

    *is_unread = 1;
    /* looked at by name first: opening a FIFO would wait */
    rv = apr_stat(seen, path, LOOK, pool);
    if (rv == APR_SUCCESS && seen->filetype != APR_REG) {
        apr_cpystrn(err->text, "not a regular file", sizeof(err->text));
        return NULL;
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_open(&handle, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_OS_DEFAULT, pool);
    }
    if (rv != APR_SUCCESS) {
        apr_strerror(rv, err->text, sizeof(err->text));
        return NULL;
    }
    rv = apr_file_info_get(seen, LOOK, handle);
    len = rv == APR_SUCCESS ? (apr_size_t) seen->size : 0;
    bytes = malloc(len + 1);
    if (rv == APR_SUCCESS && bytes != NULL && len > 0) {
        rv = apr_file_read_full(handle, bytes, len, NULL);
    }
    apr_file_close(handle);
    if (rv == APR_SUCCESS && bytes != NULL) {
        return decode(bytes, len, err, is_unread);
    }
    free(bytes);
    apr_strerror(rv != APR_SUCCESS ? rv : APR_ENOMEM, err->text, sizeof(err->text));
    return NULL;
}

const char *mst_crl_file_load(apr_pool_t *p, const char *path)
{
    mst_crl_file *f = apr_hash_get(files, path, APR_HASH_KEY_STRING);
    stls_error err = {{0}};

    if (f != NULL) {
        return NULL;
    }
    f = apr_pcalloc(conf_pool, sizeof(*f));
    f->path = apr_pstrdup(conf_pool, path);
    f->file = read_file(path, &f->seen, p, &err, &f->is_unread);
    if (f->file == NULL) {
        return apr_psprintf(p, "'%s': %s", path, err.text);
    }
    apr_hash_set(files, f->path, APR_HASH_KEY_STRING, f);
    return NULL;
}

mst_crl_file *mst_crl_file_of(const stls_policy *policy)
{
    const char *path = stls_policy_get0_text(policy, STLS_KEY_CRL_FILE);

    return path[0] ? apr_hash_get(files, path, APR_HASH_KEY_STRING) : NULL;
}

static int is_same(const apr_finfo_t *a, const apr_finfo_t *b)
{
    return a->inode == b->inode && a->device == b->device && a->size == b->size
        && a->mtime == b->mtime && a->ctime == b->ctime;
}

/* Without the lock: one thread at a time comes here, the others go on with what there is. */
static stls_crl_file *look(mst_crl_file *f)
{
    stls_crl_file *file = NULL;
    apr_finfo_t now = {0};
    apr_pool_t *pool;
    stls_error err = {{0}};
    int is_changed;

    if (apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_stat(&now, f->path, LOOK, pool) != APR_SUCCESS) {
        memset(&now, 0, sizeof(now));
    }
    is_changed = !is_same(&now, &f->seen);
    if (is_changed || f->is_unread) {
        f->seen = now;
        file = read_file(f->path, &now, pool, &err, &f->is_unread);
        if (file != NULL) {
            f->seen = now;
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, STLSLOGNO(64)
                         "strict-tls: %" APR_SIZE_T_FMT " CRLs read from '%s'",
                         stls_crl_file_num_crls(file), f->path);
        }
        else if (is_changed) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, STLSLOGNO(65)
                         "strict-tls: '%s': %s: the CRLs read before stay", f->path, err.text);
        }
    }
    apr_pool_destroy(pool);
    return file;
}

stls_crl_file *mst_crl_file_get1(const mst_runtime *rt)
{
    mst_crl_file *f = rt->crl_file;
    apr_time_t now_s = apr_time_sec(apr_time_now());
    stls_crl_file *file;

    if (f == NULL) {
        return NULL;
    }
    apr_thread_mutex_lock(mutex);
    if (f->looked_s != now_s && !f->is_busy) {
        f->looked_s = now_s;
        f->is_busy = 1;
        apr_thread_mutex_unlock(mutex);
        file = look(f);
        apr_thread_mutex_lock(mutex);
        f->is_busy = 0;
        if (file != NULL) {
            stls_crl_file_free(f->file);
            f->file = file;
        }
    }
    file = stls_crl_file_up_ref(f->file);
    apr_thread_mutex_unlock(mutex);
    return file;
}

int mst_crl_file_is_current(const mst_runtime *rt, const stls_crl_file *file)
{
    stls_crl_file *now;
    int same;

    if (rt == NULL || rt->crl_file == NULL) {
        return 1;
    }
    now = mst_crl_file_get1(rt);
    same = now == file
        || (now != NULL && file != NULL
            && !memcmp(stls_crl_file_get0_id(now), stls_crl_file_get0_id(file), STLS_ID_LEN));
    stls_crl_file_free(now);
    return same;
}
