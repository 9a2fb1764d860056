.PHONY: httpd httpd-asan
all: httpd

HTTPD_SRC := $(wildcard httpd_module/*.c httpd_module/*.h) httpd_module/build.sh \
             $(wildcard common/include/strict_tls/*.h)

$(B)/modules/mod_strict_tls.so: $(HTTPD_SRC) $(CORE_LIB)
	@httpd_module/build.sh $(B)/modules $(CORE_LIB)

$(B)/modules-asan/mod_strict_tls.so: $(HTTPD_SRC) $(ASAN_LIB)
	@STLS_SANITIZE="$(SANITIZE)" httpd_module/build.sh $(B)/modules-asan $(ASAN_LIB)

httpd: $(B)/modules/mod_strict_tls.so

# The same module with AddressSanitizer, for tests that preload its runtime into httpd.
httpd-asan: $(B)/modules-asan/mod_strict_tls.so
