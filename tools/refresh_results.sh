#!/usr/bin/env bash
# Runs what the figures of docs/ come from, one after the other: hours. Started again, it goes on with
# what is missing and prints the day and the code of what is there; another OUT begins anew. A part
# that fails is named at the end, and the others run.
#   bash tools/refresh_results.sh [OUT]     default: work_dirs/refresh
#   UCF101_MINI10=DIR    videos and lists of its ten classes for the benchmarks (data/ucf101_mini10, where the configs
#                        read them)
#   MOBILENETV2=FILE     its ImageNet weights (checkpoints/mobilenet_v2_imagenet.pth)
# OUT/NAME.log has the command, the machine, the date and the commit above the output, from which
# the tables of docs/ are written; the table of docs/results/index.md is written here.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${1:-work_dirs/refresh}
DATA=${UCF101_MINI10:-data/ucf101_mini10}
LIST=$DATA/ucf101_mini10_train_split_1_videos.txt
WEIGHTS=${MOBILENETV2:-checkpoints/mobilenet_v2_imagenet.pth}
PYTHON=${PYTHON:-python}
mkdir -p "$OUT"
FAILED=()

part() {  # NAME COMMAND...
    local name=$1 log=$OUT/$1.log
    shift
    if [ -f "$OUT/$name.done" ]; then
        printf '%s: done, %s\n' "$name" "$(sed -n 2p "$log")"
        return
    fi
    printf '%s: %s\n' "$name" "$*"
    {
        printf '$ %s\n%s, %s, commit %s\n%s\n\n' "$*" "$(date -u +%F)" "$(nproc) cores" \
            "$(git rev-parse --short HEAD)" "$(grep -m 1 'model name' /proc/cpuinfo)"
        "$@"
    } > "$log" 2>&1 && touch "$OUT/$name.done" || FAILED+=("$name")
}

QUICK=mobilenet_convlstm_quickstart
STREAM=mobilenet_convlstm_stream_quickstart
last() { cat "work_dirs/$1/last_checkpoint"; }

part data "$PYTHON" tools/data/make_quickstart.py
part embeddings "$PYTHON" tools/data/make_embeddings_quickstart.py
part train_embeddings "$PYTHON" tools/train.py configs/lstm_embeddings_quickstart.py --seed 0 --resume
for config in $QUICK mobilenet_avgpool_quickstart $STREAM; do
    part "train_$config" "$PYTHON" tools/train.py "configs/$config.py" --seed 0 --resume
    part "test_$config" "$PYTHON" tools/test.py "configs/$config.py" "$(last $config)"
done
part early "$PYTHON" tools/analysis/early_recognition.py "configs/$STREAM.py" "$(last $STREAM)" \
    "configs/$QUICK.py" "$(last $QUICK)" --plot docs/results/early_quickstart.png
part complexity "$PYTHON" tools/analysis/complexity.py \
    configs/mobilenet{,v2}_convlstm_ucf101.py configs/mobilenetv2_{avgpool,lstm,lightconvlstm}_ucf101.py \
    configs/mobilenetv2tsm_avgpool_ucf101.py configs/resnet50_lstm_ucf101.py
part layer "$PYTHON" benchmarks/conv_lstm.py --repeats 2
part layer_minimal "$PYTHON" benchmarks/conv_lstm.py --no-keras --cases reduced --threads 1 \
    --cpu-time --repeats 3 --peers MinConvLSTM "plain loop"
part layer_small "$PYTHON" benchmarks/conv_lstm.py --no-keras --cases small single --threads 1 \
    --cpu-time --repeats 2
part algorithms "$PYTHON" benchmarks/conv_lstm_algorithms.py --threads 1 --cpu-time
part layer_light "$PYTHON" benchmarks/conv_lstm.py --no-keras --cases MobileNetV2 --threads 1 \
    --cpu-time --repeats 2 --json docs/pictures/speed.json
part timeline "$PYTHON" docs/pictures/measure_timeline.py
part pictures "$PYTHON" docs/pictures/draw.py
part training "$PYTHON" benchmarks/training.py --ann-file "$LIST" --videos "$DATA/videos" \
    --weights "$WEIGHTS"
part features "$PYTHON" benchmarks/feature_cache.py --videos "$DATA/videos" --list "$LIST" \
    --clips 64 --weights "$WEIGHTS"
part streaming "$PYTHON" benchmarks/streaming.py --threads 1 --frames 0 --repeats 5 --cpu-time \
    --peers "stream: LSTM" "stream: light" "of 16: LSTM 256"
part events "$PYTHON" benchmarks/events.py "configs/$STREAM.py" "$(last $STREAM)" --activity
part events_every "$PYTHON" benchmarks/events.py "configs/$STREAM.py" "$(last $STREAM)" --activity \
    --every 1
part events_cut "$PYTHON" benchmarks/events.py "configs/$STREAM.py" "$(last $STREAM)" --no-pauses \
    --every 1 --minutes 4 --seed 100
part interruptions "$PYTHON" benchmarks/interruptions.py "configs/$STREAM.py" "$(last $STREAM)" \
    --count 200
part kills "$PYTHON" benchmarks/kill_and_resume.py --kills 50
part resources "$PYTHON" benchmarks/epoch_resources.py --epochs 8
part fuzz "$PYTHON" benchmarks/fuzz.py --count 2400 --seed 2
part decoders "$PYTHON" benchmarks/decoders.py
part openstl "$PYTHON" benchmarks/openstl_cell.py --batch 2 --frames 5
part moving_mnist "$PYTHON" examples/moving_mnist.py
# Hours.
for neck in convlstm lstm; do
    part "train_${neck}_ucf101_mini10" \
        "$PYTHON" tools/train.py "configs/mobilenet_${neck}_ucf101_mini10.py" --seed 0 --resume
done
part equal_budget "$PYTHON" tools/run_benchmark.py configs/benchmarks/here.yml --jobs 2
MINI10=mobilenetv2_lstm_ucf101_mini10_16
STORE=data/features/mobilenetv2_ucf101_mini10_16
part store "$PYTHON" tools/extract_features.py configs/mobilenetv2_convlstm_ucf101_mini10_16.py \
    --out "$STORE" --train-views 2 --cfg-options features=None
part mini10_features "$PYTHON" tools/run_benchmark.py configs/benchmarks/mini10_features.yml
RUNS=(work_dirs/benchmarks/{here,mini10_features}/*/)
part results "$PYTHON" tools/report.py "${RUNS[@]}" --json docs/results/results.json \
    --readme docs/results/index.md --pictures docs/results \
    --planned configs/benchmarks/{ucf101,hmdb51,kinetics400}.yml
PAIRS=()
for model in avgpool tsm lstm convlstm lightconvlstm; do
    name=mobilenetv2_${model}_quickstart
    [ $model = tsm ] && name=mobilenetv2tsm_avgpool_quickstart
    PAIRS+=("configs/$name.py" "$(cat work_dirs/benchmarks/here/${name}*seed0/last_checkpoint)")
done
part probe "$PYTHON" tools/analysis/temporal_probe.py "${PAIRS[@]}" \
    --json "$OUT/probe_quickstart.json" --plot docs/results/probe_quickstart.png
part early_of_all "$PYTHON" tools/analysis/early_recognition.py "${PAIRS[@]}" \
    --parts 25 50 60 75 100
part whole_model "$PYTHON" tools/merge_checkpoint.py "configs/$MINI10.py" \
    "$(cat work_dirs/benchmarks/mini10_features/${MINI10}_seed0/last_checkpoint)" \
    --features "$STORE" --out "$OUT/$MINI10.pth"
part int8 "$PYTHON" tools/export_onnx.py "configs/$MINI10.py" "$OUT/$MINI10.pth" \
    --mode step --out "$OUT/step.onnx" --int8 --calibration "${LIST/train/val}" \
    --data-prefix "$DATA/videos" --cfg-options features=None
part egogestar "$PYTHON" tools/run_benchmark.py configs/benchmarks/egogestar.yml

printf '%s parts are done, in %s.\n' "$(ls "$OUT"/*.done | wc -l)" "$OUT"
if [ ${#FAILED[@]} -gt 0 ]; then
    printf 'Failed: %s; see the logs, and start again.\n' "${FAILED[*]}"
    exit 1
fi
