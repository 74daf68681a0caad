# Each target does the set-up that it needs. A second run starts in seconds.
#   make demo           camera, planner and node, for real; writes demo_out/demo.mp4 and .gif
#   make test           all tests            make test ARGS="-k pruning"
#   make lint           ruff                 ARGS are passed on

SHELL := /bin/bash
ARGS ?=

.PHONY: demo test lint setup

demo: setup
	. scripts/env.bash && vltp demo $(ARGS)

test: setup
	. scripts/env.bash && pytest $(ARGS)

lint: setup
	. scripts/env.bash && ruff check $(ARGS) .

setup:
	@scripts/setup.sh
