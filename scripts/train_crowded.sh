#!/usr/bin/env bash
# Render crowded scenes and train a model on them, on a GPU, from start to end. Given again, it goes
# on where it was stopped. The steps of all stages follow from STEPS, those of the dense stage.
set -euo pipefail

STEPS=${STEPS:-500}
BATCH=${BATCH:-64}
SCENES=${SCENES:-6000}
DEVICE=${DEVICE:-cuda}
WORK=${WORK:-runs/crowded_gpu}
SAM=${SAM:-models/tabletop}
OPTIONS=${OPTIONS:-} # of every training, e.g. --no-bfloat16

vltp scenes --edition 2 --count "$SCENES" --split train --out "$WORK/train"
vltp scenes --edition 2 --count 300 --split val --out "$WORK/val"

# train NAME STAGE STEPS START OPTIONS...: START is --sam or --init with a model directory.
train() {
    local name=$1 stage=$2 steps=$3 option=$4 start=$5
    shift 5
    [ -f "$WORK/$name/model/model.yaml" ] ||
        vltp train --stage "$stage" --device "$DEVICE" --data "$WORK/train" --run "$WORK/$name" \
            --out "$WORK/$name/model" "$option" "$start" --steps "$steps" --batch "$BATCH" \
            --warmup $((steps / 10)) --readers 12 --save-every $((steps / 5 + 1)) "$@" $OPTIONS
}

train tower tower $((2 * STEPS)) --sam "$SAM" --tasks-per-image 1 --cut-share 0.5
train cuts reasoner $((2 * STEPS)) --init "$WORK/tower/model" \
    --tasks-per-image 8 --cut-share 0.7 --final-share 0.3 --heads "$WORK/tower" --finetune-share 0.3
train reasoner reasoner $((2 * STEPS)) --init "$WORK/cuts/model" \
    --tasks-per-image 8 --heads "$WORK/cuts" --finetune-share 0.3
train kinds encoder "$STEPS" --init "$WORK/reasoner/model" \
    --tasks-per-image 1 --cut-share 0.3 --muon-learning-rate 0.01 --final-share 0.3
train dense dense "$STEPS" --init "$WORK/kinds/model" \
    --tasks-per-image 2 --further-tasks 6 --muon-learning-rate 0.01 \
    --heads "$WORK/reasoner" --finetune-share 0.3
train prune prune $((STEPS / 2)) --init "$WORK/dense/model" \
    --tasks-per-image 2 --rates 0.5 0.7 0.8 --muon-learning-rate 0.01 --finetune-share 0.3
vltp evaluate --device "$DEVICE" --model "$WORK/prune/model" --data "$WORK/val" \
    --selector keep_all --control none grey swapped
