"""Lists are checked line by line before anything trains."""

import pytest
from helpers.support import run_tool
from mmengine.config import Config

from cnnlstm_mm.datasets import CheckedVideoDataset
from cnnlstm_mm.datasets.annotation_list import check_labels, read_list


def write(path, text):
    path.write_text(text)
    return str(path)


def test_good_lines_are_read(tmp_path):
    path = write(tmp_path / 'list.txt', 'a/b.avi 3\n\nc.avi 0\n')
    assert read_list(path) == [(1, 'a/b.avi', [3]), (3, 'c.avi', [0])]
    several = write(tmp_path / 'several.txt', 'a.avi 1 4 2\nb.avi\n')
    assert read_list(several, multi_class=True) == [(1, 'a.avi', [1, 4, 2]), (2, 'b.avi', [])]
    tabs = write(tmp_path / 'tabs.txt', 'a b.avi\t3\n')
    assert read_list(tabs, '\t') == [(1, 'a b.avi', [3])]


@pytest.mark.parametrize(
    'text, words',
    [
        ('', ['is empty']),
        ('\n\n', ['is empty']),
        ('a.avi 0\nmy clip.avi 1\n', ['line 2', 'my clip.avi', 'delimiter']),
        ('a.avi 0\nclip 7 1\n', ['line 2', '2 labels']),
        ('a.avi one\n', ['line 1', 'a.avi one']),
    ],
)
def test_bad_lines_are_named(tmp_path, text, words):
    path = write(tmp_path / 'list.txt', text)
    with pytest.raises(ValueError) as error:
        read_list(path)
    assert all(word in str(error.value) for word in [path, *words])


def test_labels_outside_the_classes_are_named():
    rows = [(1, 'a', [0]), (2, 'b', [10]), (3, 'c', [-1]), (4, 'd', [])]
    with pytest.raises(ValueError, match='line 2: label 10 of b') as error:
        check_labels('list.txt', rows, 10)
    assert 'line 3' in str(error.value) and 'line 4' in str(error.value)
    check_labels('list.txt', rows[:1], 10)


def test_a_missing_video_is_named(tmp_path):
    path = write(tmp_path / 'list.txt', 'gone.avi 0\n')
    with pytest.raises(FileNotFoundError, match='line 1.*gone.avi'):
        CheckedVideoDataset(path, pipeline=[], data_prefix=dict(video=str(tmp_path)))


def test_training_does_not_start_with_a_wrong_label(quickstart_data, tmp_path):
    wrong = write(tmp_path / 'wrong.txt', 'RightThenUp/v_RightThenUp_g000_c01.avi 8\n')
    done = run_tool(
        'tools/train.py',
        'configs/mobilenet_convlstm_quickstart.py',
        '--no-validate',
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={wrong}',
        f'train_dataloader.dataset.data_prefix.video={quickstart_data}/videos',
    )
    assert done.returncode != 0 and not (tmp_path / 'work').exists()
    assert f'{wrong}, line 1: label 8' in done.stderr


def test_lists_inside_other_data_sets_are_checked(tmp_path):
    from cnnlstm_mm.engine.launch import check_files

    (tmp_path / 'v.avi').touch()
    for name, label in (('fine', 0), ('wrong', 7)):
        (tmp_path / f'{name}.txt').write_text(f'v.avi {label}\n')
    parts = [
        dict(
            type='CheckedVideoDataset',
            ann_file=f'{tmp_path}/{name}.txt',
            data_prefix=dict(video=str(tmp_path)),
        )
        for name in ('fine', 'wrong')
    ]
    cfg = Config(
        dict(
            model=dict(cls_head=dict(num_classes=2)),
            train_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    times=2,
                    dataset=dict(type='ConcatDataset', datasets=parts),
                )
            ),
        )
    )
    with pytest.raises(ValueError, match='wrong.txt, line 1: label 7'):
        check_files(cfg, ['train'])
