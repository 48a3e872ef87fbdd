"""One module per verb, the same word as its handler in `mozartd/coordinator/requests/`.

Each has a function `command`, whose signature (see `cli.arguments`) is the one definition of the verb's arguments, whose
docstring is its help and whose result is the exit code; and an EXAMPLE that ends the help. `cli.main` imports the module
of the verb used and no other, so what a module imports at its top is what that verb pays at start-up.
"""
