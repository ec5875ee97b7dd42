"""Would the tests notice? Small mistakes, planted one at a time, and the test that has to fail.

`catalog.toml` beside this file, and its neighbours, one for each part of the house, list them.
`python -m tests.mutants` (`make mutants`) plants each in a copy of the tree and runs its test.
"""
