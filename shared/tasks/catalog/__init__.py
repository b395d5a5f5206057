"""The built-in tasks' declarations, one module a family.

A task of your own is a module here and a handler in its pool's `handlers/`: docs/add-a-task.md.
"""
