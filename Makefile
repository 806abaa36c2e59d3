# Weir. `make` builds, `make demo` shows, `make test` tests everything. Variants build in folders of their own:
# BUILD=build (release with assertions), build-asan (ASan+UBSan), build-tsan.

BUILD ?= build
CC ?= gcc
AR ?= ar
MARCH ?= x86-64-v2
OPT ?= -O2
SANITIZE ?=
T ?=

GEN := $(BUILD)/gen
WARN := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wswitch-enum -Wundef -Wvla -Wcast-qual \
        -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wlogical-op -Wnull-dereference -Werror
HARDEN := -fstack-protector-strong -fPIE
CFLAGS_ALL := -std=gnu11 -g $(OPT) -march=$(MARCH) -fno-strict-aliasing -pthread -D_GNU_SOURCE -I. -isystem $(GEN) $(HARDEN) $(SANITIZE) $(DEFINES)
LDFLAGS_ALL := -pthread -pie -Wl,-z,relro,-z,now $(SANITIZE)
# Only what links: which file may include which of these is written in tests/tidy/layers.txt.
LIBS_COMMON := -lyaml -ljansson -lmicrohttpd -lcurl -lnng -lmbedtls -lmbedx509 -lmbedcrypto -lprotobuf-c -lxxhash -lm
LIBS_JM := $(LIBS_COMMON) -lraft
LIBS_TM := $(LIBS_COMMON) -lrdkafka -lrocksdb

# --- sources ---------------------------------------------------------------------------------------------------------
sources_in = $(sort $(shell find $(1) -name '*.c' ! -name '*_test.c' 2>/dev/null))
tests_in = $(sort $(shell find $(1) -name '*_test.c' 2>/dev/null))

SRC_COMMON := $(call sources_in,common)
SRC_PROTO := $(call sources_in,proto)
SRC_JM := $(filter-out jobmanager/main.c,$(call sources_in,jobmanager))
SRC_TM := $(filter-out taskmanager/main.c,$(call sources_in,taskmanager))
SRC_CLIENT := $(filter-out client/main.c,$(call sources_in,client))
TESTS := $(call tests_in,common proto jobmanager taskmanager client tests/tidy tests/lib tests/sim)
SRC_TIDY := $(filter-out tests/tidy/main.c,$(call sources_in,tests/tidy))

PROTOS := $(wildcard proto/*.proto)
PB_C := $(PROTOS:%.proto=$(GEN)/%.pb-c.c)
LEXERS := $(shell find common jobmanager -name '*.l' 2>/dev/null)
GRAMMARS := $(shell find common jobmanager -name '*.y' 2>/dev/null)
LEX_C := $(LEXERS:%.l=$(GEN)/%.lex.c)
YACC_C := $(GRAMMARS:%.y=$(GEN)/%.tab.c)
GEN_COMMON := $(filter $(GEN)/common/%,$(LEX_C) $(YACC_C))
GEN_JM := $(filter $(GEN)/jobmanager/%,$(LEX_C) $(YACC_C))
GEN_HEADERS := $(PB_C:.c=.h) $(YACC_C:.c=.h) $(LEX_C:.c=.h)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(GEN)/%,$(1))) $(patsubst $(GEN)/%.c,$(BUILD)/obj/gen/%.o,$(filter $(GEN)/%,$(1)))

OBJ_COMMON := $(call obj,$(SRC_COMMON) $(GEN_COMMON))
OBJ_PROTO := $(call obj,$(SRC_PROTO) $(PB_C))
OBJ_JM := $(call obj,$(SRC_JM) $(GEN_JM))
OBJ_TM := $(call obj,$(SRC_TM))
OBJ_CLIENT := $(call obj,$(SRC_CLIENT))
OBJ_TESTS := $(call obj,$(TESTS))

BINARIES := $(if $(wildcard client/main.c),$(BUILD)/weir) \
            $(if $(wildcard jobmanager/main.c),$(BUILD)/weir-jobmanager) \
            $(if $(wildcard taskmanager/main.c),$(BUILD)/weir-taskmanager)

.PHONY: chaos chaos-tools failpoints fuzz sim mutants all check unit headers tidy integration integration-asan integration-tsan test test-asan test-tsan demo bench soak dist clean
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

all: $(BINARIES)

# --- generated code --------------------------------------------------------------------------------------------------
$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h &: %.proto
	@mkdir -p $(GEN)
	protoc-c --c_out=$(GEN) $<

$(GEN)/%.tab.c $(GEN)/%.tab.h &: %.y
	@mkdir -p $(@D)
	bison -Wall -Werror -d -o $(GEN)/$*.tab.c $<

$(GEN)/%.lex.c $(GEN)/%.lex.h &: %.l
	@mkdir -p $(@D)
	flex --header-file=$(GEN)/$*.lex.h -o $(GEN)/$*.lex.c $<

# --- objects and archives --------------------------------------------------------------------------------------------
$(BUILD)/obj/%.o: %.c | $(GEN_HEADERS)
	@mkdir -p $(@D)
	@echo CC $<
	@$(CC) $(CFLAGS_ALL) $(WARN) -MD -MP -c -o $@ $<

$(BUILD)/obj/gen/%.o: $(GEN)/%.c | $(GEN_HEADERS)
	@mkdir -p $(@D)
	@echo CC $<
	@$(CC) $(CFLAGS_ALL) -MD -MP -c -o $@ $<

# Check's macros compare signed with unsigned and build formats; the rest of the warnings hold for tests too.
$(BUILD)/obj/%_test.o: WARN += -Wno-sign-conversion -Wno-conversion -Wno-format-nonliteral

# Kernels are loops over arrays: at -O2 gcc 12 vectorises only what costs no code at all, unless told otherwise.
$(BUILD)/obj/common/expr/fn_%.o $(BUILD)/obj/common/expr/prog_%.o: CFLAGS_ALL += -ftree-vectorize -fvect-cost-model=dynamic

define archive
$(BUILD)/$(1).a: $(2)
	@mkdir -p $$(@D)
	@rm -f $$@
	@$(AR) rcs $$@ $(2)
endef
$(eval $(call archive,libcommon,$(OBJ_COMMON)))
$(eval $(call archive,libproto,$(OBJ_PROTO)))
$(eval $(call archive,libjm,$(OBJ_JM)))
$(eval $(call archive,libtm,$(OBJ_TM)))
$(eval $(call archive,libclient,$(OBJ_CLIENT)))

$(BUILD)/weir: $(BUILD)/obj/client/main.o $(BUILD)/libclient.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_COMMON)

$(BUILD)/weir-jobmanager: $(BUILD)/obj/jobmanager/main.o $(BUILD)/libjm.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_JM)

$(BUILD)/weir-taskmanager: $(BUILD)/obj/taskmanager/main.o $(BUILD)/libtm.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_TM)

# Kafka's client for the integration tests: on purpose without a line of Weir.
$(BUILD)/kafka-tool: $(BUILD)/obj/tests/kafka/kafka_tool.o
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ -lrdkafka

# What the chaos tests stand on: a network in user space, load and oracle, a wall clock that can be set.
CHAOS_TOOLS := $(BUILD)/chaos-wire $(BUILD)/chaos-load $(BUILD)/chaos-clock.so
$(BUILD)/chaos-wire: $(BUILD)/obj/tests/chaos/chaos_wire.o
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^

$(BUILD)/chaos-load: $(BUILD)/obj/tests/chaos/chaos_load.o
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ -lrdkafka

chaos-tools: $(CHAOS_TOOLS)

$(BUILD)/chaos-clock.so: tests/chaos/chaos_clock.c
	@mkdir -p $(@D)
	@echo LD $@
	@$(CC) $(CFLAGS_ALL) $(WARN) -fPIC -shared -o $@ $< -ldl

# --- unit tests: every x_test.c defines `Suite *x_suite(void)`; the list is made from the file names -------------------
# Those that wait or compute longest come first, so that none is left alone at the end (`weir-unit` names those over 10 s).
FIRST_SUITES := kafka_sink kafka_txn cluster kafka_source raft_sim dispatcher_drain dispatcher delta_freeze jm_cluster
SUITES = $(patsubst %_test,%,$(basename $(notdir $(TESTS))))
# Made anew each time, replaced only when it differs: a test that was removed must go from it too.
$(GEN)/suites.c: FORCE
	@mkdir -p $(@D)
	@{ echo '#include <check.h>'; echo '#include "tests/lib/unit.h"'; \
	   for t in $(SUITES); do echo "Suite *$${t}_suite(void);"; done; \
	   echo 'Suite *(*const weir_unit_suites[])(void) = {'; \
	   for t in $(filter $(FIRST_SUITES),$(SUITES)) $(filter-out $(FIRST_SUITES),$(SUITES)); do echo "    $${t}_suite,"; done; echo '    0};'; } > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
.PHONY: FORCE

# tests/sim/cluster stands in the place of threads, clocks, files, streams and Kafka's client: only in weir-sim.
SRC_SIM := $(filter-out tests/sim/main.c tests/sim/cluster/%,$(call sources_in,tests/sim))
UNIT_PARTS := $(OBJ_TESTS) $(BUILD)/obj/gen/suites.o $(call obj,$(call sources_in,tests/lib) $(SRC_SIM)) $(call obj,$(SRC_TIDY)) \
              $(BUILD)/libclient.a $(BUILD)/libjm.a $(BUILD)/libtm.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
UNIT_WRAPS := _mark_point
$(BUILD)/weir-unit: $(UNIT_PARTS)
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) $(UNIT_WRAPS:%=-Wl,--wrap=%) -o $@ $^ -lcheck -lsubunit -lrt $(LIBS_TM) -lraft

# Of one test: it only ends a hang. Check's own 4 s are too few on a busy machine, and five minutes are under a sanitizer.
TEST_TIMEOUT_S := $(if $(SANITIZE),900,300)
unit: $(BUILD)/weir-unit $(BUILD)/weir-sim
	CK_DEFAULT_TIMEOUT=$(TEST_TIMEOUT_S) $(if $(T),CK_RUN_SUITE=$(T)) $(BUILD)/weir-unit

# --- simulations ------------------------------------------------------------------------------------------------------
# The objects of tests/sim/cluster come before the archives, whose members of the same names are then not taken.
SIM_WRAPS := getpid access statvfs weir_rpc_call weir_rpc_client_create weir_rpc_client_destroy weir_raft_log_open weir_raft_log_change weir_ckpt_sweep \
             weir_tm_attempts_create weir_tm_link_snapshot weir_tm_attempts_notify weir_jm_submit weir_tm_registry_remove weir_job_drains_first \
             weir_adaptive_grows weir_dispatcher_create weir_task_thread_create
SIM_PARTS := $(call obj,$(call sources_in,tests/sim/cluster) tests/sim/main.c $(SRC_SIM) tests/lib/plain_store.c) \
             $(BUILD)/libjm.a $(BUILD)/libtm.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
$(BUILD)/weir-sim: $(SIM_PARTS)
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) $(SIM_WRAPS:%=-Wl,--wrap=%) -o $@ $^ $(LIBS_TM) -lraft

# `make sim SEEDS=1..2000` runs those seeds of each simulation (T=cluster: of that one), `make sim SEED=7` one with its trace.
SEEDS ?= 1..500
sim: $(BUILD)/weir-sim
	$(BUILD)/weir-sim $(if $(filter command line environment,$(origin SEED)),--seed $(SEED),--seeds $(SEEDS)) $(SIM_FLAGS) $(T)

# The protocols, broken mechanically: the simulations must notice, or the unit tests. `make mutants T="gate."`: those whose names begin so, `make mutants T=--list`.
# In the link commands @ stands for the mutant's object, which comes before the archive that has the right one, and % for what comes out.
link_mutant = $(CC) $(LDFLAGS_ALL) -s $(2) -o % @ $(1) $(LIBS_TM) -lraft
mutants: $(BUILD)/weir-sim $(BUILD)/weir-unit
	@MUTANT_COMPILE='$(CC) $(CFLAGS_ALL)' MUTANT_LINK_SIM='$(call link_mutant,$(SIM_PARTS),$(SIM_WRAPS:%=-Wl,--wrap=%))' \
	        MUTANT_LINK_UNIT='$(call link_mutant,$(UNIT_PARTS),$(UNIT_WRAPS:%=-Wl,--wrap=%)) -lcheck -lsubunit -lrt' nice -n 5 python3 tests/mutants/run.py $(T)

# --- tidy: STYLE as far as a program can read it ------------------------------------------------------------------------
$(BUILD)/weir-tidy: $(BUILD)/obj/tests/tidy/main.o $(call obj,$(SRC_TIDY)) $(BUILD)/libcommon.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_COMMON)

# Every header compiles alone.
HEADERS := $(sort $(shell find common proto jobmanager taskmanager client tests -name '*.h' 2>/dev/null))
$(BUILD)/headers/%.ok: %.h | $(GEN_HEADERS)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(WARN) -Wno-unused -fsyntax-only -include $< -x c /dev/null -MD -MP -MT $@ -MF $(@:.ok=.d)
	@touch $@

headers: $(HEADERS:%.h=$(BUILD)/headers/%.ok)

tidy: headers $(BUILD)/weir-tidy
	$(BUILD)/weir-tidy
	python3 tests/mutants/run.py --check

# --- variants --------------------------------------------------------------------------------------------------------
test-asan:
	$(MAKE) BUILD=build-asan OPT=-O1 DEFINES=-DWEIR_DEBUG SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" unit

test-tsan:
	$(MAKE) BUILD=build-tsan OPT=-O1 DEFINES=-DWEIR_DEBUG SANITIZE="-fsanitize=thread -fno-omit-frame-pointer" unit

# The daemons with named failpoints compiled in (common/base/failpoint.h), for tests/integration/test_failpoints.py.
failpoints:
	@$(MAKE) BUILD=build-fp DEFINES=-DWEIR_FAILPOINTS all

# Random input, SECONDS for each target: `make fuzz SECONDS=60 SEED=7 T="json expr"`. What they reach is counted by gcc's calls at each basic
# block; the driver itself has none.
SECONDS ?= 10
SEED ?= 1
$(BUILD)/obj/tests/fuzz/main.o $(BUILD)/obj/tests/fuzz/cover.o $(BUILD)/obj/tests/fuzz/mutate.o: \
        CFLAGS_ALL := $(filter-out -fsanitize-coverage=%,$(CFLAGS_ALL))
$(BUILD)/weir-fuzz: $(call obj,$(call sources_in,tests/fuzz)) $(BUILD)/libjm.a $(BUILD)/libtm.a $(BUILD)/libproto.a $(BUILD)/libcommon.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_TM) -lraft

fuzz:
	@$(MAKE) BUILD=build-fuzz OPT=-O1 DEFINES=-DWEIR_DEBUG SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all \
	        -fno-omit-frame-pointer -fsanitize-coverage=trace-pc" build-fuzz/weir-fuzz
	build-fuzz/weir-fuzz --seconds $(SECONDS) --seed $(SEED) $(T)

# --- whole runs ------------------------------------------------------------------------------------------------------
check: tidy unit

# In two lanes (run.py says how); LANES=1: one test after the other.
LANES ?= 2
integration: all failpoints $(BUILD)/kafka-tool
	python3 tests/integration/run.py --lanes $(LANES) $(T)

# Everything; ends with `N passed, N failed, N skipped`. @: nothing may be printed after that line.
test:
	@tests/run_all.sh

# The same tests with every daemon under a sanitizer, in one lane: `make integration-asan T=Slots`. Failpoints are in a build of their own.
integration-asan: $(BUILD)/kafka-tool
	$(MAKE) BUILD=build-asan OPT=-O1 DEFINES=-DWEIR_DEBUG SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" all
	WEIR_TEST_DEADLINE_S=120 WEIR_BIN_DIR=$(CURDIR)/build-asan python3 tests/integration/run.py --lanes 1 $(T)

integration-tsan: $(BUILD)/kafka-tool
	$(MAKE) BUILD=build-tsan OPT=-O1 DEFINES=-DWEIR_DEBUG SANITIZE="-fsanitize=thread -fno-omit-frame-pointer" all
	WEIR_TEST_DEADLINE_S=120 WEIR_BIN_DIR=$(CURDIR)/build-tsan python3 tests/integration/run.py --lanes 1 $(T)

# Every line of the file has its reason beside it.
export TSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/suppress/tsan.txt

# Faults on a whole cluster of real daemons, each in a network of its own, with a real broker: `make chaos MINUTES=20 SEED=7`, and by number
# of RELIABILITY's table of scenarios: `make chaos ROWS="7 8 13"` (or ROWS=all). With TLS inside the cluster where the seed is odd; TLS=0|1 decides.
MINUTES ?=
ROWS ?=
TLS ?=
chaos: all failpoints $(BUILD)/kafka-tool chaos-tools
	python3 tests/chaos/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ROWS),--rows "$(ROWS)") $(if $(filter command line,$(origin SEED)),--seed $(SEED)) $(if $(TLS),--tls $(TLS))

# The long forms: units under both sanitizers, chaos, then the integration tests ROUNDS times, under each build; mutants.
ROUNDS ?= 20
soak: all test-asan test-tsan
	CHAOS_STORM_S=600 $(MAKE) chaos ROWS=all MINUTES=20
	for i in $$(seq $(ROUNDS)); do $(MAKE) fuzz SECONDS=60 SEED=$$(date +%s) || exit 1; done
	for i in $$(seq $(ROUNDS)); do first=$$(date +%s); $(MAKE) sim SIM_FLAGS=--ledger SEEDS=$$first..$$((first + 9999)) || exit 1; done
	for i in $$(seq $(ROUNDS)); do WEIR_ISOLATION_JOBS=10000 $(MAKE) integration || exit 1; $(MAKE) integration-asan integration-tsan || exit 1; done
	first=$$(date +%s); $(MAKE) mutants T="--seeds $$first..$$((first + 59))"

# Figures in build/bench/*.json, and a table with Flink's beside: `make bench T="file-window start"`.
bench: all $(BUILD)/kafka-tool
	WEIR_BIN_DIR=$(CURDIR)/$(BUILD) python3 tests/bench/run.py $(T)

demo:
	deploy/deps.sh
	$(MAKE) all
	deploy/local/demo.sh

# A folder that runs wherever it is unpacked, on a machine with the libraries of deploy/deps.sh.
VERSION := $(shell sed -n 's/.*WEIR_VERSION "\(.*\)"/\1/p' common/base/version.h)
DIST := weir-$(VERSION)-linux-$(shell uname -m)
dist: all
	rm -rf $(BUILD)/dist
	mkdir -p $(BUILD)/dist/$(DIST)/bin
	install -s $(BINARIES) $(BUILD)/dist/$(DIST)/bin
	cp -r README.md deploy examples $(BUILD)/dist/$(DIST)
	tar -C $(BUILD)/dist -czf $(BUILD)/$(DIST).tar.gz $(DIST)
	@echo $(BUILD)/$(DIST).tar.gz

clean:
	rm -rf build build-asan build-tsan build-fp build-fuzz

-include $(shell find $(BUILD)/obj $(BUILD)/headers -name '*.d' 2>/dev/null)
