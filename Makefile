# SPDX-License-Identifier: Apache-2.0
# A menu in front of Meson; `make` alone prints it.
.PHONY: help build check demo clean format soak bench check-gpu asan tsan coverage
help:
	@echo "make build      build everything into build/"
	@echo "make check      install what is needed, build, test   (same as ./check)"
	@echo "make demo       the two-minute tour                   (same as ./demo)"
	@echo "make asan tsan  the tests under sanitizers"
	@echo "make bench      tables of the benchmarks"
	@echo "make soak       fuzzing, litmus and chaos at full length"
	@echo "make check-gpu  what only a machine with a GPU can show"
	@echo "make format     clang-format over the sources"
build:
	@tools/setup && { [ -f build/build.ninja ] || meson setup build; } && ninja -C build
check:
	@./check
demo:
	@./demo
asan:
	@./check --sanitize address,undefined
tsan:
	@./check --sanitize thread
bench: build
	@bench/run
soak: build
	@tools/soak
check-gpu: build
	@tools/check-gpu
format:
	@git ls-files '*.c' '*.h' | grep -v '^src/abi/' | xargs clang-format -i
clean:
	rm -rf build build-*
