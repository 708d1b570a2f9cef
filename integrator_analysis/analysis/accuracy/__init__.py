"""How large the error of a step is: local errors and their terms, global errors, modified equations."""
