#!/usr/bin/env bash
# Render crowded scenes and train a model on them, from start to end: on a GPU, or with DEVICE=cpu on
# two cores, where SAM's encoder and LLaVA learn side by side. Given again, it goes on where it was
# stopped. The steps of all stages follow from STEPS.
set -euo pipefail

DEVICE=${DEVICE:-cuda}
if [ "$DEVICE" = cpu ]; then
    STEPS=${STEPS:-1000} BATCH=${BATCH:-4} SCENES=${SCENES:-12000} READERS=1
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
else
    STEPS=${STEPS:-150} BATCH=${BATCH:-64} SCENES=${SCENES:-6000} READERS=12
fi
WORK=${WORK:-runs/crowded}
SAM=${SAM:-models/tabletop}
OPTIONS=${OPTIONS:-} # of every training, e.g. --seed 1

vltp scenes --edition 2 --count "$SCENES" --split train --out "$WORK/train"
vltp scenes --edition 2 --count 300 --split val --out "$WORK/val"
vltp gates --train "$WORK/train" --val "$WORK/val"

# train NAME STAGE STEPS OPTIONS…
train() {
    local name=$1 stage=$2 steps=$3
    shift 3
    [ -f "$WORK/$name/model/model.yaml" ] ||
        vltp train --stage "$stage" --device "$DEVICE" --data "$WORK/train" --run "$WORK/$name" \
            --out "$WORK/$name/model" --steps "$steps" --batch "$BATCH" --readers "$READERS" \
            --warmup $((steps / 20 + 1)) --save-every $((steps / 10 + 1)) --final-share 0.05 \
            "$@" $OPTIONS
}

kinds() {
    train kinds encoder $((5 * STEPS)) --sam "$SAM" --tasks-per-image 1 --cut-share 0.3 \
        --learning-rate 5e-4 --muon-learning-rate 0.01
}

language() {
    train tower tower $((9 * STEPS)) --sam "$SAM" --tasks-per-image 1 --cut-share 0.5
    train reasoner reasoner $((4 * STEPS)) --init "$WORK/tower/model" --heads "$WORK/tower" \
        --tasks-per-image 7 --naming-tasks 2 --cut-share 0.4 --finetune-share 0.2 \
        --muon-learning-rate 0.015 --kind-weight 4 --place-weight 0.5
}

if [ "$DEVICE" = cpu ]; then
    kinds &
    language
    wait $!
    export OMP_NUM_THREADS=2
else
    kinds
    language
fi
train dense dense $((5 * STEPS / 2)) --init "$WORK/reasoner/model" --sam "$WORK/kinds/model" \
    --heads "$WORK/reasoner" "$WORK/kinds" --tasks-per-image 3 --further-tasks 3 --naming-tasks 1 \
    --cut-share 0.3 --freeze-encoder --finetune-share 0.25 --learning-rate 7e-4 \
    --muon-learning-rate 0.01 --kind-weight 2 --place-weight 0.5
train prune prune $((STEPS / 2)) --init "$WORK/dense/model" --tasks-per-image 2 \
    --rates 0.5 0.7 0.8 --learning-rate 7e-4 --muon-learning-rate 0.01 --finetune-share 0.3
vltp evaluate --device "$DEVICE" --model "$WORK/prune/model" --data "$WORK/val" \
    --selector keep_all prune_decoder --control none grey swapped
