"""Small bugs, each of which the tests must notice: a file of them for each layer of the package.

`mutate.py` puts one into a module, and `run_mutants.py` beside this folder runs the tests on it.
"""
