"""The builders: what turns a method into a step program."""
