"""Sphinx configuration of the site; tools/build_docs.sh builds it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / '_ext')]

from cnnlstm_mm.version import __version__

project = 'cnnlstm_mm'
release = version = __version__
copyright = 'the authors of cnnlstm_mm'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'option_tables']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = 'cnnlstm_mm'
html_copy_source = False
myst_heading_anchors = 3
suppress_warnings = ['misc.highlighting_failure']
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_typehints = 'none'
napoleon_use_ivar = True
napoleon_use_rtype = False
