# The same training from the features of
# python tools/extract_features.py configs/mobilenet_lstm_ucf101_mini10.py --out data/features/mobilenet_lstm_ucf101_mini10
_base_ = './mobilenet_lstm_ucf101_mini10.py'

features = 'data/features/mobilenet_lstm_ucf101_mini10'
