"""Lists are checked line by line before anything trains."""

import pytest
from helpers.support import run_tool
from mmengine.config import Config

from cnnlstm_mm.config import rows_of
from cnnlstm_mm.datasets import CheckedVideoDataset
from cnnlstm_mm.datasets.annotation_list import check_labels, read_frame_list, read_list


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


CSV = [
    ('id,path,label\n7,"a, b.avi",1\n8,c d.avi, 0\n', dict()),
    ('video;class\na, b.avi;1\nc d.avi;0\n', dict()),
    ('label\tfilename\n1\ta, b.avi\n0\tc d.avi\n', dict()),
    ('"a, b.avi",1\nc d.avi,0\n', dict(delimiter=',')),
    ('File Path,Class Name\n"a, b.avi",Run\nc d.avi,Jump\n', dict(label_file=['Jump', 'Run'])),
]


@pytest.mark.parametrize('text, options', CSV)
def test_csv_is_read_as_python_reads_it(tmp_path, text, options):
    path = write(tmp_path / 'list.txt', text)
    rows = read_list(path, **options)
    assert [(name, labels) for _, name, labels in rows] == [('a, b.avi', [1]), ('c d.avi', [0])]
    lines = text.splitlines()
    assert [row.line for row in rows] == list(range(1, len(lines) + 1))[-2:]


def test_the_name_csv_tells_commas_but_blanks_stay_blanks(tmp_path):
    commas = write(tmp_path / 'commas.csv', 'a b.avi,1\nc.avi,0\n')
    assert read_list(commas) == [(1, 'a b.avi', [1]), (2, 'c.avi', [0])]
    blanks = write(tmp_path / 'blanks.csv', 'a.avi 1\n')
    assert read_list(blanks) == [(1, 'a.avi', [1])]
    alone = write(tmp_path / 'alone.csv', 'path\na b.avi\n')
    assert read_list(alone) == [(2, 'a b.avi', [])]


@pytest.mark.parametrize(
    'line, cure', [('a, b.avi,1', 'double quotes'), ('a.avi', 'as many columns')]
)
def test_lines_of_csv_have_the_columns_of_the_header(tmp_path, line, cure):
    path = write(tmp_path / 'list.csv', f'path,label\nfine.avi,0,,\n{line}\n')
    with pytest.raises(ValueError) as error:
        read_list(path)
    assert f'line 3: {line!r} has' in str(error.value) and cure in str(error.value)
    path = write(tmp_path / 'list.txt', 'path label\na b.avi 1\n')
    with pytest.raises(ValueError, match=r'3 columns, the header 2\nfix: .*tabs'):
        read_list(path)


def test_several_labels_of_csv_stand_in_one_cell_or_in_many(tmp_path):
    path = write(tmp_path / 'list.csv', 'path,labels\na.avi,0 2\nb.avi,\nc.avi,0;1\n')
    assert [labels for *_, labels in read_list(path, multi_class=True)] == [[0, 2], [], [0, 1]]
    path = write(tmp_path / 'many.txt', 'a.avi,0,2\nb.avi,1\n')
    assert [row.labels for row in read_list(path, ',', multi_class=True)] == [[0, 2], [1]]
    path = write(tmp_path / 'names.csv', 'path,labels\na.avi,Jump Up;Run\nb.avi,Jump Up\n')
    names = ['Jump Up', 'Run']
    rows = read_list(path, multi_class=True, label_file=names)
    assert [row.labels for row in rows] == [[0, 1], [0]]


def test_class_names_are_looked_up_in_order(tmp_path):
    path = write(tmp_path / 'list.txt', 'a.avi Run\nb.avi Jump\nc.avi 1\n')
    write(tmp_path / 'label_map.txt', 'Jump\nRun\n')
    assert [row.labels for row in read_list(path)] == [[1], [0], [1]]
    other = write(tmp_path / 'other.txt', 'Run\n\nJump\n')
    assert [row.labels for row in read_list(path, label_file=other)] == [[0], [1], [1]]
    for name in 'abc':
        (tmp_path / f'{name}.avi').touch()
    for options in (dict(label_file=other), dict(metainfo=dict(classes=['Run', 'Jump']))):
        data = CheckedVideoDataset(path, [], data_prefix=dict(video=str(tmp_path)), **options)
        assert [data.get_data_info(k)['label'] for k in range(3)] == [0, 1, 1]


FAULTS = [  # line, delimiter, what is said, and how the cure begins
    ('a.avi  0', ' ', 'two spaces in a row', "write a single ' '"),
    ('a.avi\t0', ' ', 'has tabs', r"set the data set's delimiter='\t'"),
    ('a b.avi,0', ' ', 'has commas', "set the data set's delimiter=','"),
    ('a.avi 0', '\t', 'has spaces', "set the data set's delimiter=' '"),
    ('a.avi;0', ',', 'has semicolons', "set the data set's delimiter=';'"),
    ('a.avi Run', ' ', "class name 'Run'", 'name the classes'),
    ('my clip.avi 1', ' ', 'path that holds the delimiter', 'rename the files'),
    ('clip 7 1', ' ', '2 labels', 'lists with several labels per line need multi_class=True'),
    ('0 a.avi', ' ', 'label before the path', 'write "path label"'),
    ('a.avi 1.0', ' ', "the label '1.0'", 'write labels as whole numbers'),
    (',0', ',', 'no path', 'write "path label", or remove'),
]


@pytest.mark.parametrize('line, delimiter, fault, cure', FAULTS)
def test_each_fault_of_a_list_has_its_own_words_and_cure(tmp_path, line, delimiter, fault, cure):
    path = write(tmp_path / 'list.txt', f'good.avi{delimiter}0\n{line}\n')
    with pytest.raises(ValueError) as error:
        read_list(path, delimiter)
    said, _, fix = str(error.value).partition('\nfix: ')
    assert said.startswith(f'{path}, line 2: {line!r} ') and fault in said
    assert fix.startswith(cure)


def test_several_kinds_of_faults_have_each_a_cure(tmp_path):
    path = write(tmp_path / 'list.txt', 'a b.avi 0\nc.avi  1\nd e.avi 2\n')
    with pytest.raises(ValueError) as error:
        read_list(path)
    cures = [line for line in str(error.value).splitlines() if line.startswith('fix')]
    assert [cure[:13] for cure in cures] == ['fix of line 1', 'fix of line 2']


def test_near_names_and_unknown_headers_are_named(tmp_path):
    path = write(tmp_path / 'list.txt', 'a.avi Rum\n')
    with pytest.raises(ValueError, match=r"'Rum'.*2 of .*\(near: Run\)"):
        read_list(path, label_file=['Jump', 'Run'])
    path = write(tmp_path / 'list.csv', 'clip_file,y\na.avi,0\n')
    with pytest.raises(ValueError, match=r"line 1.*seems to be a header.*\n.*'path' and 'label'"):
        read_list(path)


def test_upstreams_data_set_is_named_where_it_cannot_read(tmp_path):
    path = write(tmp_path / 'list.txt', 'path,label\na.avi,0\n')
    for kind in ('VideoDataset', 'mmaction.VideoDataset'):
        with pytest.raises(ValueError, match="fix: set the data set's type='CheckedVideoDataset'"):
            rows_of(dict(type=kind, ann_file=path))
    assert rows_of(dict(type='CheckedVideoDataset', ann_file=path)) == [(2, 'a.avi', [0])]


def test_frame_folders_have_a_number_of_frames(tmp_path):
    path = write(tmp_path / 'list.txt', 'clips/a 12 0\nclips/b 9\n')
    assert read_frame_list(path) == [(1, 'clips/a', [0]), (2, 'clips/b', [])]
    path = write(tmp_path / 'list.txt', 'clips/a 3 12 0 2\n')
    assert read_frame_list(path, with_offset=True, multi_class=True) == [(1, 'clips/a', [0, 2])]
    with pytest.raises(ValueError, match=r'2 labels.*\n.*multi_class'):
        read_frame_list(path, with_offset=True)
    path = write(tmp_path / 'list.txt', 'clips/a\nclips/b x 0\n')
    with pytest.raises(ValueError, match=r'(?s)line 1.*line 2.*write "folder frames label"'):
        read_frame_list(path)
    for text in ('clips/a 0 1\n', 'clips/a -3 1\n'):
        with pytest.raises(ValueError, match='write "folder frames label"'):
            read_frame_list(write(tmp_path / 'list.txt', text))


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
