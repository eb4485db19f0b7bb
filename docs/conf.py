"""Sphinx configuration of the site; tools/build_docs.sh builds it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / '_ext')]

from cnnlstm_mm.version import __version__

project = 'cnnlstm_mm'
release = version = __version__
copyright = 'the authors of cnnlstm_mm'
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.intersphinx',
    'sphinx.ext.napoleon',
    'option_tables',
    'references',
]
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = 'cnnlstm_mm'
html_copy_source = False
html_static_path = ['_static']
html_css_files = ['site.css']
pygments_dark_style = 'monokai'  # others underline modules, as if they were links
myst_heading_anchors = 3
myst_enable_extensions = ['deflist']
smartquotes_action = 'qe'  # two hyphens are an option, not a dash
highlight_language = 'none'  # commands and what they print
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_typehints = 'none'
napoleon_use_ivar = True
napoleon_use_rtype = False
# Of the inventories, the lines that these pages use: a build needs no network, and a name that
# neither they nor the package have is a warning.
intersphinx_mapping = {
    name: (address, f'inventories/{name}.inv')
    for name, address in dict(
        mmaction2='https://mmaction2.readthedocs.io/en/latest',
        mmcv='https://mmcv.readthedocs.io/en/2.x',
        mmengine='https://mmengine.readthedocs.io/en/latest',
        numpy='https://numpy.org/doc/stable',
        python='https://docs.python.org/3',
        torch='https://docs.pytorch.org/docs/stable',
    ).items()
}
nitpicky = True
nitpick_ignore = [  # their projects have no page for them
    ('py:class', 'mmaction.models.recognizers.recognizer3d.Recognizer3D'),
    ('py:exc', 'torch.onnx.errors.OnnxExporterError'),
]
