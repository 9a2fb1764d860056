# libcurl: the helper library, the shim for unchanged programs, strict-curl.  Included by ../Makefile.

CURL_BASE := $(BASE) -D_DEFAULT_SOURCE -Icurl_plugin/include -Icurl_plugin -pthread
CURL_LIBS := $(LIBS) -lcurl -ldl -pthread
CURL_OWN  := setup table handle inside tell fork tls peer_name trust judge fetch cache crl_reader
CURL_OBJ  := $(CURL_OWN:%=$(B)/obj/curl_plugin/%.o)
CURL_CORE := $(CORE_SRC:common/%.c=$(B)/obj/curl_plugin/core/%.o)
CURL_SO   := $(B)/lib/libstrict_tls_curl.so
CURL_A    := $(B)/lib/libstrict_tls_curl.a
CURL_PC   := $(B)/lib/pkgconfig/strict_tls_curl.pc
CORE_PC   := $(B)/lib/pkgconfig/strict_tls.pc
CURL_EXAMPLES := $(patsubst curl_plugin/examples/%.c,$(B)/examples/curl/%,$(sort $(wildcard curl_plugin/examples/*.c)))
CURL_SHIM_OBJ := $(patsubst %,$(B)/obj/curl_plugin/%.o,shim shim_active shim_config shim_handle)
CURL_SHIM := $(B)/lib/libstrict_tls_preload.so
STRICT_CURL := $(B)/bin/strict-curl
PREFIX   ?= /usr

.PHONY: curl curl-examples
curl: $(CURL_SO) $(CURL_A) $(CURL_PC) $(CORE_PC) $(CURL_SHIM) $(STRICT_CURL) curl-examples

# RTLD_NEXT and its like.
$(CURL_SHIM_OBJ): CURL_BASE += -D_GNU_SOURCE

$(B)/obj/curl_plugin/%.o: curl_plugin/%.c
	@mkdir -p $(@D)
	$(CC) $(CURL_BASE) $(CFLAGS) -MMD -MP -c $< -o $@

# The library exports the core's API too, which a program needs for policies and reports.
$(B)/obj/curl_plugin/core/%.o: common/%.c
	@mkdir -p $(@D)
	$(CC) $(BASE) -fvisibility=default $(CFLAGS) -MMD -MP -c $< -o $@

$(CURL_SO): $(CURL_OBJ) $(CURL_CORE) curl_plugin/libstrict_tls_curl.map
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,libstrict_tls_curl.so.1 -Wl,-z,defs -Wl,-z,relro,-z,now \
	    -Wl,--version-script=curl_plugin/libstrict_tls_curl.map \
	    $(CURL_OBJ) $(CURL_CORE) $(CURL_LIBS) -o $@.1
	ln -sf libstrict_tls_curl.so.1 $@

$(CURL_A): $(CURL_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

# Only the names that stand in for others' are visible in the shim.
$(CURL_SHIM): $(CURL_OBJ) $(CURL_SHIM_OBJ) $(CORE_LIB) curl_plugin/libstrict_tls_preload.map
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,libstrict_tls_preload.so -Wl,-z,defs -Wl,-z,relro,-z,now \
	    -Wl,--version-script=curl_plugin/libstrict_tls_preload.map \
	    $(CURL_SHIM_OBJ) $(CURL_OBJ) $(CORE_LIB) $(CURL_LIBS) -o $@

# Static: a third of the time that starting it takes.
$(STRICT_CURL): curl_plugin/strict_curl.c curl_plugin/active.h common/include/strict_tls/policy_keys.h
	@mkdir -p $(@D)
	$(CC) $(CURL_BASE) $(CFLAGS) -fPIE -static-pie $< -o $@

$(CORE_PC): common/strict_tls.pc.in VERSION
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e "s|@VERSION@|$$(cat VERSION)|" $< > $@

$(CURL_PC): curl_plugin/strict_tls_curl.pc.in VERSION
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' \
	    -e 's|@VERSION@|$(VERSION)|' $< > $@

$(B)/examples/curl/%: curl_plugin/examples/%.c $(CURL_SO)
	@mkdir -p $(@D)
	$(CC) $(WARN) -std=c11 -D_POSIX_C_SOURCE=200809L $(CFLAGS) -Icommon/include -Icurl_plugin/include $< \
	    -L$(B)/lib -lstrict_tls_curl -lcurl -lcrypto -Wl,-rpath,'$$ORIGIN/../../lib' -o $@

curl-examples: $(CURL_EXAMPLES)

-include $(CURL_OBJ:.o=.d) $(CURL_SHIM_OBJ:.o=.d) $(CURL_CORE:.o=.d)

# What the tests drive.
CURL_CLIENTS := $(B)/tests/curl_client $(B)/tests/curl_client_plain
.PHONY: curl-clients
curl-clients: $(CURL_CLIENTS)

$(B)/tests/curl_client: tests/hosts/curl/client.c $(CURL_SO)
	@mkdir -p $(@D)
	$(CC) $(WARN) -std=c11 -D_DEFAULT_SOURCE $(CFLAGS) -Icommon/include -Icurl_plugin/include $< \
	    -L$(B)/lib -lstrict_tls_curl -lcurl -lssl -lcrypto -Wl,-rpath,'$$ORIGIN/../lib' -o $@

$(B)/tests/curl_client_plain: tests/hosts/curl/client.c
	@mkdir -p $(@D)
	$(CC) $(WARN) -std=c11 -D_DEFAULT_SOURCE -DPLAIN $(CFLAGS) $< -lcurl -lssl -lcrypto -o $@

.PHONY: curl-install
curl-install: curl
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	    $(DESTDIR)$(PREFIX)/include/strict_tls $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/man/man3 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(STRICT_CURL) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(CURL_SO).1 $(CURL_SHIM) $(CURL_A) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libstrict_tls_curl.so.1 $(DESTDIR)$(PREFIX)/lib/libstrict_tls_curl.so
	sed -e 's|^prefix=.*|prefix=$(PREFIX)|' \
	    $(if $(filter /usr,$(PREFIX)),,-e 's|^Libs: |Libs: -Wl,-rpath,$${libdir} |') $(CURL_PC) > $(DESTDIR)$(PREFIX)/lib/pkgconfig/strict_tls_curl.pc
	install -m 644 curl_plugin/include/strict_tls/curl.h $(DESTDIR)$(PREFIX)/include/strict_tls/
	install -m 644 curl_plugin/man/strict-curl.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	sed 's|^prefix=.*|prefix=$(PREFIX)|' $(CORE_PC) > $(DESTDIR)$(PREFIX)/lib/pkgconfig/strict_tls.pc
	install -m 644 curl_plugin/man/stls_curl_enable.3 curl_plugin/man/strict_tls.3 \
	    $(DESTDIR)$(PREFIX)/share/man/man3/
	# man finds every function: a page each that leads to where it is described.
	for page in stls_curl_enable strict_tls; do \
	    for name in $$(sed -n '/^.SH NAME/,/^.SH SYNOPSIS/p' curl_plugin/man/$$page.3 \
	                       | grep -o 'stls_[a-z0-9_]*\|strict_tls_version'); do \
	        test $$name = $$page || echo ".so man3/$$page.3" \
	            > $(DESTDIR)$(PREFIX)/share/man/man3/$$name.3 || exit 1; \
	    done; \
	done
	install -m 644 curl_plugin/completion/strict-curl $(DESTDIR)$(PREFIX)/share/bash-completion/completions/
