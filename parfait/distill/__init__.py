"""Distillation: teachers turn sentences into examples for a semantic model to learn from."""
