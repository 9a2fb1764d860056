# strict-tls, the doctor.  Included by ../../Makefile behind ../rules.mk, whose library it uses.

DOCTOR     := $(B)/bin/strict-tls
DOCTOR_SRC := $(sort $(wildcard curl_plugin/doctor/*.c))
DOCTOR_OBJ := $(DOCTOR_SRC:%.c=$(B)/obj/%.o)

.PHONY: doctor doctor-asan doctor-docs doctor-install
all doctor: $(DOCTOR)

$(DOCTOR): $(DOCTOR_OBJ) $(CURL_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wl,-z,relro,-z,now $(DOCTOR_OBJ) $(CURL_A) $(CURL_LIBS) -o $@

# The same with AddressSanitizer, for the tests.
DOCTOR_ASAN := $(B)/bin-asan/strict-tls
DOCTOR_ASAN_SRC := $(DOCTOR_SRC) $(CURL_OWN:%=curl_plugin/%.c)
doctor-asan: $(DOCTOR_ASAN)

$(DOCTOR_ASAN): $(DOCTOR_ASAN_SRC) $(wildcard curl_plugin/doctor/*.h curl_plugin/*.h) $(ASAN_LIB)
	@mkdir -p $(@D)
	$(CC) $(CURL_BASE) $(SANITIZE) $(DOCTOR_ASAN_SRC) $(ASAN_LIB) $(CURL_LIBS) -o $@

# Man page and completion, from the options table.
doctor-docs: $(DOCTOR)
	$(DOCTOR) help man > curl_plugin/man/strict-tls.1
	$(DOCTOR) help completion > curl_plugin/doctor/strict-tls.bash

doctor-install: $(DOCTOR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/doc/strict-tls/docs
	install -m 755 $(DOCTOR) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 curl_plugin/man/strict-tls.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 curl_plugin/doctor/strict-tls.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/strict-tls
	install -m 644 docs/doctor.schema.json $(DESTDIR)$(PREFIX)/share/doc/strict-tls/docs/

-include $(DOCTOR_OBJ:.o=.d)
