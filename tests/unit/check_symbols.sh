#!/bin/sh
# The core is sans-I/O: its undefined symbols name no file, socket, clock or thread function,
# neither libc's nor libcrypto's, and it defines no writable global.
set -eu
lib=$1
banned='^(time|gettimeofday|clock|clock_gettime|localtime.*|gmtime|nanosleep|sleep|usleep'
banned="$banned|f?open(at)?|open64|fopen64|read|write|fread|fwrite|printf|fprintf|puts|close|socket|connect|send.*|recv.*|poll|select|epoll.*|getaddrinfo|gethostby.*"
banned="$banned|getenv|secure_getenv|pthread_.*|thrd_.*|malloc_.*|system|popen|fork|exec.*"
banned="$banned|X509_cmp_current_time|X509_gmtime_adj|X509_time_adj.*|X509_cmp_time|OCSP_check_validity|OCSP_basic_verify|OCSP_sendreq.*"
banned="$banned|BIO_new_file|BIO_new_fp|BIO_s_file|BIO_s_socket|BIO_new_socket|BIO_s_connect|BIO_new_connect|BIO_s_accept|BIO_connect|BIO_lookup.*"
banned="$banned|OSSL_HTTP_.*|OSSL_STORE_.*|X509_load_.*|X509_STORE_load_.*|X509_STORE_set_default_paths.*|X509_LOOKUP_(file|hash_dir|store).*)\$"
bad=$(nm -u "$lib" | awk '/ U /{print $2}' | sort -u | grep -E "$banned" || true)
if [ -n "$bad" ]; then
    echo "core: I/O or clock functions used:" $bad >&2
    exit 1
fi
globals=$(nm -f sysv "$lib" | awk -F'|' '$4 ~ /OBJECT|TLS/ && $7 ~ /^\.(data|bss|tdata|tbss)$|COM/ {print $1}')
if [ -n "$globals" ]; then
    echo "core: writable globals:" $globals >&2
    exit 1
fi
