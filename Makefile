# The rules behind ./build.sh.  Everything made lands in build/.

B        ?= build
CC       ?= cc
# WERROR=1, for developers and CI, makes warnings errors; another compiler has other warnings.
WARN     := -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
VERSION  := $(shell cat VERSION)
CFLAGS   ?= -O2 -g
BASE     := -std=c11 -D_POSIX_C_SOURCE=200809L -fPIC -fvisibility=hidden -fno-strict-overflow \
            -fstack-protector-strong $(WARN) -Icommon/include -Icommon
LIBS     := -ljansson -lssl -lcrypto
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g

CORE_SRC := $(sort $(wildcard common/*.c))
CORE_OBJ := $(CORE_SRC:%.c=$(B)/obj/%.o)
ASAN_OBJ := $(CORE_SRC:%.c=$(B)/asan/%.o)
CORE_LIB := $(B)/lib/libstrict_tls.a
ASAN_LIB := $(B)/lib/libstrict_tls_asan.a

UNIT_SRC := $(sort $(wildcard tests/unit/*_test.c))
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)
UNIT_ASAN := $(UNIT_SRC:tests/unit/%.c=$(B)/unit-asan/%)
UNIT_AID := $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))
UNIT_AID_OBJ  := $(UNIT_AID:%.c=$(B)/obj/%.o)
UNIT_AID_ASAN := $(UNIT_AID:%.c=$(B)/asan/%.o)
UNIT_OBJ := $(UNIT_SRC:%.c=$(B)/obj/%.o) $(UNIT_SRC:%.c=$(B)/asan/%.o) $(UNIT_AID_OBJ) $(UNIT_AID_ASAN)

.PHONY: version-check core-bench fuzz pkits vectors docs docs-check all core unit unit-asan symbols headers clean nginx nginx-asan
all: core nginx curl

core: $(CORE_LIB) symbols

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/asan/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(SANITIZE) -MMD -MP -c $< -o $@

$(CORE_LIB): $(CORE_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(ASAN_LIB): $(ASAN_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

# The core does no I/O and reads no clock: its undefined symbols say so.
symbols: $(CORE_LIB)
	@tests/unit/check_symbols.sh $(CORE_LIB)

# The header, the changelog and the file VERSION name the same version.
version-check:
	@grep -q '^#define STLS_VERSION "$(VERSION)"' common/include/strict_tls/strict_tls.h \
	    || { echo "STLS_VERSION in strict_tls.h is not $(VERSION), as VERSION says" >&2; exit 1; }
	@grep -q -e '^## \[$(VERSION)\]' -e '^## \[Unreleased\]' CHANGELOG.md \
	    || { echo "CHANGELOG.md knows nothing of $(VERSION)" >&2; exit 1; }

# Each public header must compile alone.
headers:
	@for h in $$(find common/include curl_plugin/include -name '*.h'); do \
	    $(CC) $(BASE) -Icurl_plugin/include -fsyntax-only -x c $$h || exit 1; done

.SECONDARY: $(UNIT_OBJ)

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(UNIT_AID_OBJ) $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $^ $(LIBS) -lcmocka -o $@

$(B)/unit-asan/%: $(B)/asan/tests/unit/%.o $(UNIT_AID_ASAN) $(ASAN_LIB)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) $^ $(LIBS) -lcmocka -o $@

unit: $(UNIT)
unit-asan: $(UNIT_ASAN)

nginx: $(CORE_LIB)
	@nginx_module/build.sh $(B)/modules $(CORE_LIB)

# The same module with AddressSanitizer, for tests that preload its runtime into nginx.
nginx-asan: $(ASAN_LIB)
	@STLS_SANITIZE="$(SANITIZE)" nginx_module/build.sh $(B)/modules-asan $(ASAN_LIB)

# Reference pages from the core's tables.
$(B)/docs/generate: docs/generate.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) $< $(CORE_LIB) $(LIBS) -o $@

docs: $(B)/docs/generate
	docs/update.sh $<

docs-check: $(B)/docs/generate
	@docs/update.sh $< --check

# Fuzz targets: libFuzzer with AddressSanitizer and UBSan, seeds made by the unit tests' factory.
FUZZ_CC     := clang
FUZZ_FLAGS  := -fsanitize=address,undefined -fno-sanitize-recover=all -O1 -g
FUZZ_OBJ    := $(CORE_SRC:%.c=$(B)/fuzz/obj/%.o)
WORLD_SRC   := $(filter-out tests/property/main.c,$(wildcard tests/property/*.c)) $(UNIT_AID)
FUZZ        := $(patsubst tests/fuzz/fuzz_%.c,$(B)/fuzz/fuzz_%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(BASE) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.c tests/fuzz/fuzz.h $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(BASE) $(FUZZ_FLAGS) -fsanitize=fuzzer -Itests/fuzz $< tests/fuzz/fuzz.c $(FUZZ_OBJ) $(LIBS) -o $@

# It makes its own certificates, and needs no folder of them.
$(B)/fuzz/fuzz_world: tests/fuzz/fuzz_world.c $(WORLD_SRC) $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(BASE) $(FUZZ_FLAGS) -fsanitize=fuzzer -Itests/property -Itests/unit $^ $(LIBS) -lcmocka -o $@

$(B)/fuzz/seeds: tests/fuzz/seeds.c $(UNIT_AID_OBJ) $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -Itests/unit $< $(UNIT_AID_OBJ) $(CORE_LIB) $(LIBS) -lcmocka -o $@

fuzz: $(FUZZ) $(B)/fuzz/seeds

-include $(FUZZ_OBJ:.o=.d)

# NIST PKITS through the core's CRL rung.
$(B)/pkits_test: tests/pkits/pkits_test.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -D_DEFAULT_SOURCE $< $(CORE_LIB) $(LIBS) -o $@

pkits: $(B)/pkits_test

# Vectors of our own: tests/vectors/.
$(B)/vectors_run: tests/vectors/vectors_run.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) $< $(CORE_LIB) $(LIBS) -o $@

$(B)/vectors_run_asan: tests/vectors/vectors_run.c $(ASAN_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(SANITIZE) $< $(ASAN_LIB) $(LIBS) -o $@

vectors: $(B)/vectors_run $(B)/vectors_run_asan

# Properties over random PKIs: tests/property/.
PROPERTY_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(sort $(wildcard tests/property/*.c)))
$(PROPERTY_OBJ): BASE += -Itests/unit

$(B)/properties: $(PROPERTY_OBJ) $(UNIT_AID_OBJ) $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $^ $(LIBS) -lcmocka -o $@

properties: $(B)/properties

# What threads share, with ThreadSanitizer.
TSAN     := -fsanitize=thread -O1 -g
TSAN_OBJ := $(patsubst %.c,$(B)/tsan/%.o,$(CORE_SRC) tests/unit/threads_test.c $(UNIT_AID))

$(B)/tsan/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(TSAN) -MMD -MP -c $< -o $@

$(B)/threads_tsan: $(TSAN_OBJ)
	$(CC) $(TSAN) $^ $(LIBS) -lcmocka -o $@

threads: $(B)/threads_tsan

# Lines and branches that the unit tests, vectors, PKITS and properties reach.
COVERAGE     := --coverage -O0 -g
COVERAGE_OBJ := $(CORE_SRC:%.c=$(B)/coverage/%.o)
COVERAGE_LIB := $(B)/coverage/libstrict_tls.a
COVERAGE_BIN := $(UNIT_SRC:tests/unit/%.c=$(B)/coverage/%) $(B)/coverage/vectors_run \
                $(B)/coverage/pkits_test $(B)/coverage/properties

$(B)/coverage/common/%.o: common/%.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(COVERAGE) -MMD -MP -c $< -o $@

$(COVERAGE_LIB): $(COVERAGE_OBJ)
	rm -f $@ && ar rcs $@ $^

$(B)/coverage/%_test: $(B)/obj/tests/unit/%_test.o $(UNIT_AID_OBJ) $(COVERAGE_LIB)
	$(CC) --coverage $^ $(LIBS) -lcmocka -o $@

$(B)/coverage/vectors_run: tests/vectors/vectors_run.c $(COVERAGE_LIB)
	$(CC) $(BASE) $(CFLAGS) $^ --coverage $(LIBS) -o $@

$(B)/coverage/pkits_test: tests/pkits/pkits_test.c $(COVERAGE_LIB)
	$(CC) $(BASE) $(CFLAGS) -D_DEFAULT_SOURCE $^ --coverage $(LIBS) -o $@

$(B)/coverage/properties: $(PROPERTY_OBJ) $(UNIT_AID_OBJ) $(COVERAGE_LIB)
	$(CC) --coverage $^ $(LIBS) -lcmocka -o $@

coverage-programs: $(COVERAGE_BIN)

# For tests/mutants/: the core's flags without what a change on purpose may trip over.
print-flags:
	@echo '$(filter-out -fvisibility=hidden -W%,$(BASE))'

print-libs:
	@echo '$(LIBS)'

$(B)/bench/core_bench: tests/bench/core_bench.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -D_DEFAULT_SOURCE $< $(CORE_LIB) $(LIBS) -o $@

core-bench: $(B)/bench/core_bench

clean:
	rm -rf $(B)

# httpd.
include httpd_module/rules.mk

# libcurl.
include curl_plugin/rules.mk
include curl_plugin/doctor/rules.mk

-include $(PROPERTY_OBJ:.o=.d) $(TSAN_OBJ:.o=.d) $(COVERAGE_OBJ:.o=.d)
-include $(CORE_OBJ:.o=.d) $(ASAN_OBJ:.o=.d) $(UNIT_OBJ:.o=.d)
