/*
 * The CRLs of strict_tls_crl_file: read with the configuration, hence once for
 * all workers, and by each worker again when the file has changed: looked at
 * once a second, read and indexed in slices between other events.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_CRL_SLICE  (128 * 1024)
#define NGX_STRICT_TLS_CRL_LOOK   1000


typedef struct {
    ngx_file_uniq_t                 uniq;
    off_t                           size;
    time_t                          mtime;
    time_t                          ctime;
    long                            nsec;
} ngx_strict_tls_stamp_t;


struct ngx_strict_tls_crl_file_s {
    ngx_str_t                       path;
    ngx_strict_tls_main_conf_t     *conf;
    stls_crl_file                  *file;
    ngx_uint_t                      generation;
    ngx_strict_tls_stamp_t          stamp;     /* of the latest attempt */
    time_t                          looked;
    ngx_uint_t                      unread;    /* of no fault of the file's:
                                                  told, and tried again */

    /* being read again */
    ngx_fd_t                        fd;
    u_char                         *bytes;
    size_t                          len;
    size_t                          done;
    stls_crl_file                  *next;
    ngx_event_t                     event;
};


static void ngx_strict_tls_crl_file_look(ngx_strict_tls_crl_file_t *f);
static void ngx_strict_tls_crl_file_unread(ngx_strict_tls_crl_file_t *f,
    ngx_err_t err);
static ngx_int_t ngx_strict_tls_crl_file_open(ngx_strict_tls_crl_file_t *f,
    ngx_strict_tls_stamp_t *stamp);
static void ngx_strict_tls_crl_file_handler(ngx_event_t *ev);
static stls_crl_state ngx_strict_tls_crl_file_step(
    ngx_strict_tls_crl_file_t *f, stls_error *err);
static void ngx_strict_tls_crl_file_abandon(ngx_strict_tls_crl_file_t *f);
static void ngx_strict_tls_crl_file_timer(ngx_event_t *ev);


/* At configuration time, hence in one go.  The policy has a crl_file. */

ngx_strict_tls_crl_file_t *
ngx_strict_tls_crl_file(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    stls_policy *policy)
{
    ngx_str_t                    path;
    ngx_uint_t                   i;
    stls_error                   err;
    stls_crl_state               state;
    ngx_strict_tls_crl_file_t   *f, **files;

    path.data = (u_char *) stls_policy_get0_text(policy, STLS_KEY_CRL_FILE);
    path.len = ngx_strlen(path.data);

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NULL;
    }

    files = mcf->crl_files.elts;

    for (i = 0; i < mcf->crl_files.nelts; i++) {
        if (files[i]->path.len == path.len
            && ngx_strncmp(files[i]->path.data, path.data, path.len) == 0)
        {
            return files[i];
        }
    }

    f = ngx_pcalloc(cf->pool, sizeof(ngx_strict_tls_crl_file_t));
    if (f == NULL) {
        return NULL;
    }

    f->conf = mcf;
    f->fd = NGX_INVALID_FILE;
    f->path.len = path.len;
    f->path.data = ngx_pnalloc(cf->pool, path.len + 1);
    if (f->path.data == NULL) {
        return NULL;
    }

    (void) ngx_cpystrn(f->path.data, path.data, path.len + 1);

    files = ngx_array_push(&mcf->crl_files);
    if (files == NULL) {
        return NULL;
    }

    *files = f;

    if (ngx_strict_tls_crl_file_open(f, &f->stamp) != NGX_OK) {

        if (ngx_errno == ESPIPE) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "strict_tls_crl_file \"%V\" is not a regular "
                               "file, which can be read again", &f->path);
            return NULL;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot read strict_tls_crl_file \"%V\"", &f->path);
        return NULL;
    }

    err.text[0] = '\0';

    do {
        state = ngx_strict_tls_crl_file_step(f, &err);
    } while (state == STLS_CRL_MORE);

    if (state != STLS_CRL_DONE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "strict_tls_crl_file \"%V\": %s", &f->path,
                           err.text[0] ? err.text : "cannot be read");
        ngx_strict_tls_crl_file_abandon(f);
        return NULL;
    }

    f->file = f->next;
    f->next = NULL;

    return f;
}


/* What the scope's file holds now, borrowed; NULL: it has none. */

stls_crl_file *
ngx_strict_tls_crl_file_get0(ngx_strict_tls_scope_t *scope)
{
    if (scope->crl_file == NULL) {
        return NULL;
    }

    ngx_strict_tls_crl_file_look(scope->crl_file);

    return scope->crl_file->file;
}


/* A number that changes with what the file holds. */

ngx_uint_t
ngx_strict_tls_crl_file_generation(ngx_strict_tls_scope_t *scope)
{
    if (scope->crl_file == NULL) {
        return 0;
    }

    ngx_strict_tls_crl_file_look(scope->crl_file);

    return scope->crl_file->generation;
}


/* Changes are noticed in a worker that has nothing else to do, too. */

void
ngx_strict_tls_crl_file_start(ngx_strict_tls_worker_t *worker)
{
    ngx_event_t  *ev;

    if (worker->conf->crl_files.nelts == 0) {
        return;
    }

    ev = &worker->crl_file_timer;

    ev->handler = ngx_strict_tls_crl_file_timer;
    ev->data = worker;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_STRICT_TLS_CRL_LOOK);
}


void
ngx_strict_tls_crl_file_stop(ngx_strict_tls_worker_t *worker)
{
    ngx_uint_t                   i;
    ngx_strict_tls_crl_file_t  **files;

    if (worker->crl_file_timer.timer_set) {
        ngx_del_timer(&worker->crl_file_timer);
    }

    files = worker->conf->crl_files.elts;

    for (i = 0; i < worker->conf->crl_files.nelts; i++) {
        ngx_strict_tls_crl_file_abandon(files[i]);
    }
}


void
ngx_strict_tls_crl_file_cleanup(ngx_strict_tls_main_conf_t *mcf)
{
    ngx_uint_t                   i;
    ngx_strict_tls_crl_file_t  **files;

    files = mcf->crl_files.elts;

    for (i = 0; i < mcf->crl_files.nelts; i++) {
        ngx_strict_tls_crl_file_abandon(files[i]);
        stls_crl_file_free(files[i]->file);
    }
}


static void
ngx_strict_tls_crl_file_timer(ngx_event_t *ev)
{
    ngx_uint_t                   i;
    ngx_strict_tls_worker_t     *worker;
    ngx_strict_tls_crl_file_t  **files;

    worker = ev->data;
    files = worker->conf->crl_files.elts;

    for (i = 0; i < worker->conf->crl_files.nelts; i++) {
        ngx_strict_tls_crl_file_look(files[i]);
    }

    ngx_add_timer(ev, NGX_STRICT_TLS_CRL_LOOK);
}


/* ---- reading it again ---- */

static void
ngx_strict_tls_crl_file_stamp(ngx_strict_tls_stamp_t *stamp,
    ngx_file_info_t *fi)
{
    ngx_memzero(stamp, sizeof(ngx_strict_tls_stamp_t));

    stamp->uniq = ngx_file_uniq(fi);
    stamp->size = ngx_file_size(fi);
    stamp->mtime = ngx_file_mtime(fi);
    stamp->ctime = fi->st_ctime;
#if (NGX_LINUX)
    stamp->nsec = fi->st_mtim.tv_nsec;
#endif
}


/* One stat() a second; what is small is read and indexed at once. */

static void
ngx_strict_tls_crl_file_look(ngx_strict_tls_crl_file_t *f)
{
    ngx_file_info_t         fi;
    ngx_strict_tls_stamp_t  stamp;

    if (f->looked == ngx_time() || f->event.handler) {
        return;
    }

    f->looked = ngx_time();

    if (ngx_file_info(f->path.data, &fi) == NGX_FILE_ERROR) {

        /* about to be replaced, perhaps */

        ngx_strict_tls_crl_file_unread(f, ngx_errno);
        return;
    }

    ngx_strict_tls_crl_file_stamp(&stamp, &fi);

    if (ngx_memcmp(&stamp, &f->stamp, sizeof(stamp)) == 0) {
        return;
    }

    if (ngx_strict_tls_crl_file_open(f, &f->stamp) != NGX_OK) {

        /* for want of descriptors, perhaps */

        ngx_strict_tls_crl_file_unread(f, ngx_errno);
        return;
    }

    f->event.handler = ngx_strict_tls_crl_file_handler;
    f->event.data = f;
    f->event.log = ngx_cycle->log;

    if (f->len > NGX_STRICT_TLS_CRL_SLICE) {
        ngx_post_event(&f->event, &ngx_posted_next_events);
        return;
    }

    while (f->event.handler) {
        ngx_strict_tls_crl_file_handler(&f->event);
    }
}


/* What may pass without any change of the file: tried again, and told once. */

static void
ngx_strict_tls_crl_file_unread(ngx_strict_tls_crl_file_t *f, ngx_err_t err)
{
    if (!f->unread) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "cannot read \"%s\": the CRLs read before stay",
                      f->path.data);
    }

    f->unread = 1;
    f->stamp.size = -1;
}


static ngx_int_t
ngx_strict_tls_crl_file_open(ngx_strict_tls_crl_file_t *f,
    ngx_strict_tls_stamp_t *stamp)
{
    ngx_file_info_t  fi;

    /* without waiting, should it be a FIFO */

    f->fd = ngx_open_file(f->path.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                          NGX_FILE_OPEN, 0);
    if (f->fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    if (ngx_fd_info(f->fd, &fi) == NGX_FILE_ERROR) {
        ngx_strict_tls_crl_file_abandon(f);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        /* what cannot be read again when it changes */
        ngx_strict_tls_crl_file_abandon(f);
        ngx_set_errno(ngx_is_dir(&fi) ? NGX_EISDIR : ESPIPE);
        return NGX_ERROR;
    }

    ngx_strict_tls_crl_file_stamp(stamp, &fi);

    f->len = ngx_file_size(&fi);
    f->done = 0;
    f->bytes = malloc(f->len + 1);

    if (f->bytes == NULL) {
        ngx_strict_tls_crl_file_abandon(f);
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * A slice of reading, or of indexing; DONE: f->next is ready.  FAILED with an
 * empty text: no fault of the file's content.
 */

static stls_crl_state
ngx_strict_tls_crl_file_step(ngx_strict_tls_crl_file_t *f, stls_error *err)
{
    ssize_t         n;
    stls_crl_state  state;

    if (f->next) {
        state = stls_crl_file_step(f->next, NGX_STRICT_TLS_CRL_SLICE, err);

        if (state == STLS_CRL_FAILED && stls_crl_file_lacks_memory(f->next)) {
            err->text[0] = '\0';
            ngx_set_errno(NGX_ENOMEM);
        }

        return state;
    }

    if (f->done < f->len) {
        n = ngx_read_fd(f->fd, f->bytes + f->done,
                        ngx_min(f->len - f->done, NGX_STRICT_TLS_CRL_SLICE));
        if (n <= 0) {
            ngx_set_errno(n ? ngx_errno : EIO);
            return STLS_CRL_FAILED;
        }

        f->done += n;
        return STLS_CRL_MORE;
    }

    (void) ngx_close_file(f->fd);
    f->fd = NGX_INVALID_FILE;

    f->next = stls_crl_file_new(NULL, f->bytes, f->len, free);
    f->bytes = NULL;

    if (f->next == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return STLS_CRL_FAILED;
    }

    return STLS_CRL_MORE;
}


static void
ngx_strict_tls_crl_file_handler(ngx_event_t *ev)
{
    stls_error                  err;
    ngx_strict_tls_crl_file_t  *f;

    f = ev->data;
    err.text[0] = '\0';

    switch (ngx_strict_tls_crl_file_step(f, &err)) {

    case STLS_CRL_MORE:

        if (f->len > NGX_STRICT_TLS_CRL_SLICE) {
            ngx_post_event(ev, &ngx_posted_next_events);
        }

        return;

    case STLS_CRL_DONE:
        f->unread = 0;

        if (ngx_memcmp(stls_crl_file_get0_id(f->next),
                       stls_crl_file_get0_id(f->file), STLS_ID_LEN)
            != 0)
        {
            stls_crl_file_free(f->file);
            f->file = f->next;
            f->next = NULL;
            f->generation++;

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "strict-tls: %uz CRLs read from \"%V\"",
                          stls_crl_file_num_crls(f->file), &f->path);
        }

        break;

    default:

        if (err.text[0] == '\0') {
            ngx_strict_tls_crl_file_unread(f, ngx_errno);
            break;
        }

        f->unread = 0;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "\"%V\": %s: the CRLs read before stay", &f->path,
                      err.text);
        break;
    }

    ngx_strict_tls_crl_file_abandon(f);
}


static void
ngx_strict_tls_crl_file_abandon(ngx_strict_tls_crl_file_t *f)
{
    if (f->event.posted) {
        ngx_delete_posted_event(&f->event);
    }

    f->event.handler = NULL;

    if (f->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(f->fd);
        f->fd = NGX_INVALID_FILE;
    }

    free(f->bytes);
    f->bytes = NULL;

    stls_crl_file_free(f->next);
    f->next = NULL;
}
