"""Small step models as ONNX files."""
from stream_models import OPTIONS, build, config

from cnnlstm_mm.export import StepGraph, save, to_onnx
from cnnlstm_mm.export.onnx_model import state_facts
from cnnlstm_mm.streaming import OnnxStreamingRecognizer, StreamingRecognizer

LABELS = ['run', 'jump', 'sit', 'wave', 'fall']


def exported(option, path):
    """PyTorch's and onnxruntime's recognizer with the same weights."""
    cfg = config(*OPTIONS[option])
    rec = StreamingRecognizer.from_model(build(cfg), cfg)
    graph = StepGraph(rec, (32, 32))
    rule = dict(rec.normalization, steps=rec.transform.steps, size=[32, 32])
    rule['channel_order'] = 'BGR' if rule.pop('to_rgb') else 'RGB'
    save(to_onnx(graph), dict(
        mode='step', labels=LABELS, model_id=rec.model_id,
        frame_interval=1, probabilities=rec.model.probabilities,
        state=state_facts(graph), preprocessing=rule), path)
    return rec, OnnxStreamingRecognizer(path, threads=1)
