# make            build the program: build/release/epif
# make demo       the main job on real software, in network namespaces; KEEP=1 leaves it running
# make test       unit tests, fuzz corpora, tests end to end
# make bench      the papers' experiments, within two hours; results in bench/results/<date>
# make bench-quick  the same figures with fewer repeats, within minutes
# make install    PREFIX=/usr/local
# Each target installs the Debian packages that it misses (root).
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
RELEASE := build/release

# ccache shares the precompiled header only when told that its time stamps do not matter.
export CCACHE_SLOPPINESS ?= pch_defines,time_macros
export CMAKE_CXX_COMPILER_LAUNCHER ?= $(shell command -v ccache)
export CTEST_OUTPUT_ON_FAILURE := 1

.PHONY: all setup configure program demo test bench bench-quick install clean
all: program

setup:
	@tools/setup

configure: setup
	@cmake --preset release > build-configure.log 2>&1 && rm -f build-configure.log || { cat build-configure.log; rm -f build-configure.log; exit 1; }

program: configure
	@cmake --build --preset release -j $(JOBS) --target epif epif-bf manual

demo: program
	@KEEP=$(KEEP) tools/demo

test: configure
	@cmake --build --preset release -j $(JOBS)
	@ctest --test-dir $(RELEASE) -j $(JOBS) --progress
	@tests/run

bench bench-quick: configure
	@tools/setup bench
	@cmake --build --preset release -j $(JOBS) --target epif epif-bf planner_bench socks_bench link_emulator mqtt_load bf_containers
	@bench/run $(if $(filter bench-quick,$@),--quick) $(BENCH)

install: program
	@cmake --install $(RELEASE) --prefix $(PREFIX)

clean:
	@rm -rf build
