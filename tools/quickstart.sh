#!/usr/bin/env bash
# From a bare machine to a trained recurrent recognizer: environment, built-in
# data, training and testing of MobileNet + ConvLSTM and of the same backbone
# with average pooling. Run again, it resumes where it stopped.
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
STARTED=$SECONDS

say "Data: data/quickstart"
"$PYTHON" tools/data/make_quickstart.py

for NAME in mobilenet_convlstm_quickstart mobilenet_avgpool_quickstart; do
    say "Training $NAME (log: work_dirs/$NAME)"
    "$PYTHON" tools/train.py "configs/$NAME.py" --resume
    say "Testing $NAME"
    "$PYTHON" tools/test.py "configs/$NAME.py" \
        "$(cat "work_dirs/$NAME/last_checkpoint")"
done

say "Results"
"$PYTHON" tools/report.py work_dirs/mobilenet_convlstm_quickstart \
    work_dirs/mobilenet_avgpool_quickstart --plot work_dirs/quickstart.png
printf '\nDone in %d s.\n' $((SECONDS - STARTED))
